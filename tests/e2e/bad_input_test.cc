// What a user gets for a mistake: a stable code, a place, a remedy, a non-zero exit; and nothing
// left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

class BadInputTest : public testing::Test {
 protected:
  // Runs `exec -- true` in a directory holding this policy.
  Outcome ExecWithPolicy(const std::string& yaml) {
    std::ofstream(folder_.path() + "/cleanroom.yaml") << yaml;
    return daemon_.Cli({"exec", "-n", "--", "true"}, "", std::chrono::seconds(120), folder_.path());
  }
  void ExpectNoSandboxes() {
    EXPECT_EQ(daemon_.Cli({"sandbox", "ls", "--json"}).out.find("sandbox_id"), std::string::npos);
  }

  Daemon daemon_;
  os::TempDir folder_ = os::TempDir::Create().value();
};

constexpr char kDigest[] =
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST_F(BadInputTest, PolicyErrorsHavePlaces) {
  const Outcome outcome =
      ExecWithPolicy("version: 1\nsandbox:\n  image: { ref: debian:12 }\n  netwrok: {}\n");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("policy_invalid"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("cleanroom.yaml:3:"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("cleanroom.yaml:4:"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("network"), std::string::npos) << outcome.err;
  ExpectNoSandboxes();
}

TEST_F(BadInputTest, WhatCannotBeEnforcedIsRefusedByName) {
  const Outcome outcome = ExecWithPolicy(
      std::string("version: 1\nsandbox:\n  image: { ref: \"example.test/x@") + kDigest +
      "\" }\n  docker: { required: true }\n  network:\n    default: deny\n    allow:\n"
      "      - api.github.com:443\n");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("backend_capability_mismatch"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("sandbox.network"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("docker"), std::string::npos) << outcome.err;
  ExpectNoSandboxes();
}

TEST_F(BadInputTest, MissingImage) {
  // Nothing listens on port 1 of loopback.
  const Outcome outcome = daemon_.Cli(
      {"exec", "-n", "--image", std::string("127.0.0.1:1/none@") + kDigest, "--", "true"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("127.0.0.1:1"), std::string::npos) << outcome.err;
  ExpectNoSandboxes();
}

TEST_F(BadInputTest, NoKernel) {
  const Outcome before = daemon_.Cli({"image", "ls"});
  EXPECT_EQ(before.code, 0);
  Daemon broken("backends:\n  qemu:\n    kernel_image: /no/such/vmlinux\n");
  const Outcome outcome = broken.Cli({"exec", "-n", "--image", BaseImage(broken), "--", "true"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("/no/such/vmlinux"), std::string::npos) << outcome.err;
}

TEST_F(BadInputTest, ContradictingFlagsAreNamed) {
  const Outcome outcome =
      daemon_.Cli({"exec", "--in", "01kr7p9ksmfa7rmyypyqw2w8r0", "--keep", "--", "true"});
  EXPECT_NE(outcome.code, 0);
  EXPECT_NE(outcome.err.find("--in"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("--keep"), std::string::npos) << outcome.err;
}

TEST_F(BadInputTest, UnknownSandbox) {
  const Outcome outcome = daemon_.Cli({"exec", "--in", "01kr7p9ksmfa7rmyypyqw2w8r0", "--", "true"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("not_found"), std::string::npos) << outcome.err;
}

TEST_F(BadInputTest, NoDaemonSaysHowToStartOne) {
  const Outcome outcome =
      daemon_.Cli({"sandbox", "ls", "--host", "unix://" + folder_.path() + "/none.sock"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("cleanroom serve"), std::string::npos) << outcome.err;
}

TEST_F(BadInputTest, ServeRefusesLikeEveryOtherCommand) {
  struct Case {
    std::vector<std::string> flags;
    std::string says;
    std::string next;
  };
  const std::string help = "cleanroom serve --help";
  for (const Case& test : {
           Case{{"--bad"}, "invalid_argument: '--bad' is no flag of serve", help},
           Case{{"--log-level", "foo"}, "write error, warn, info, debug or trace", help},
           Case{{"--guest-silence", "0"}, "seconds from 1 to 86400", help},
           Case{{"--listen", "ftp://a"}, "`ftp://a` is not an endpoint", help},
           Case{{"--listen", "https://127.0.0.1:0"}, "server.pem", "--tls-cert"},
           Case{{"--config", "/nonexistent"}, "/nonexistent", "config init --path /nonexistent"},
           Case{{"--listen", "unix://" + daemon_.socket()}, "another daemon", "cleanroom doctor"},
       }) {
    std::vector<std::string> args = {"serve"};
    args.insert(args.end(), test.flags.begin(), test.flags.end());
    const Outcome outcome = daemon_.Cli(args);
    EXPECT_EQ(outcome.code, 1) << test.flags[0];
    EXPECT_TRUE(outcome.err.starts_with("cleanroom: ")) << outcome.err;
    EXPECT_NE(outcome.err.find(test.says), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.rfind(test.next), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 2) << outcome.err;
  }
  const Outcome help_text = daemon_.Cli({"serve", "--help"});
  EXPECT_EQ(help_text.code, 0);
  EXPECT_NE(help_text.out.find("Usage: cleanroom serve [OPTIONS]"), std::string::npos)
      << help_text.out;
  EXPECT_EQ(help_text.out, daemon_.Cli({"help", "serve"}).out);
}

TEST_F(BadInputTest, ACertificateOfOnesOwnIsTrustedByFlagOrFromTheConfigFolder) {
  const std::string certificate = folder_.path() + "/server.pem", key = folder_.path() + "/key.pem";
  const Outcome made = cleanroom::test::Run(
      {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
       "-nodes", "-days", "2", "-subj", "/CN=cleanroom", "-addext", "subjectAltName=IP:127.0.0.1",
       "-keyout", key, "-out", certificate});
  ASSERT_EQ(made.code, 0) << made.err;
  const Daemon secure(
      "", {"--listen", "https://127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key});
  const size_t at = secure.listening().find("https://");
  ASSERT_NE(at, std::string::npos) << secure.listening();
  const std::string url =
      secure.listening().substr(at, secure.listening().find_first_of(" \n", at) - at);

  const Outcome strange = secure.Cli({"--host", url, "sandbox", "ls"});
  EXPECT_EQ(strange.code, 1);
  EXPECT_NE(strange.err.find("certificate is not trusted by the system's authorities"),
            std::string::npos)
      << strange.err;
  EXPECT_NE(strange.err.find("--tls-ca FILE"), std::string::npos) << strange.err;
  EXPECT_EQ(strange.err.find("doctor"), std::string::npos) << strange.err;
  const Outcome flag = secure.Cli({"--host", url, "--tls-ca", certificate, "sandbox", "ls"});
  EXPECT_EQ(flag.code, 0) << flag.err;

  const std::string tls = secure.folder() + "/config/cleanroom/tls";
  std::filesystem::create_directories(tls);
  std::filesystem::copy_file(certificate, tls + "/ca.pem");
  const Outcome trusted = secure.Cli({"--host", url, "sandbox", "ls"});
  EXPECT_EQ(trusted.code, 0) << trusted.err;
}

TEST_F(BadInputTest, BackendsThatAreNotHere) {
  for (const std::string backend : {"firecracker", "darwin-vz"}) {
    const Outcome outcome = daemon_.Cli({"exec", "-n", "--backend", backend, "--image",
                                         std::string("127.0.0.1:1/none@") + kDigest, "--", "true"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find("backend_unavailable"), std::string::npos) << outcome.err;
  }
}

TEST(AcceleratorTest, WhatTheConfigAsksForAndTheHostLacksIsSaidByDoctorToo) {
  const std::string processor = os::ReadFile("/proc/cpuinfo", size_t{16} << 20).value_or("");
  if (processor.find(" svm ") != std::string::npos ||
      processor.find(" vmx ") != std::string::npos) {
    GTEST_SKIP() << "the processor has hardware virtualisation";
  }
  const Daemon daemon("backends: { qemu: { accel: kvm } }\n");
  const std::string image = BaseImage(daemon);
  constexpr const char* kRefusal = "accelerator kvm cannot be used here";
  const Outcome outcome = daemon.Cli({"exec", "-n", "--image", image, "--", "true"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find(kRefusal), std::string::npos) << outcome.err;

  const Outcome doctor = daemon.Cli({"doctor", "--json"});
  const auto report = nlohmann::json::parse(doctor.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << doctor.out << doctor.err;
  std::map<std::string, std::string> failed;
  for (const auto& check : report["checks"]) {
    if (check.value("status", "") == "fail") failed[check["name"]] = check.value("message", "");
  }
  EXPECT_TRUE(failed.contains("accelerator")) << doctor.out;
  EXPECT_NE(failed["machines"].find(kRefusal), std::string::npos) << doctor.out;
}

}  // namespace
}  // namespace cleanroom::test
