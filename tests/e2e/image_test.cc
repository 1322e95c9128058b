// Images through the daemon and the command line: interrupted pulls, credentials, bump-ref.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "support/command.h"
#include "support/daemon.h"
#include "support/docker_registry.h"
#include "support/tar_builder.h"

namespace cleanroom::test {
namespace {

using cleanroom::testing::Background;
using cleanroom::testing::DockerRegistry;
using cleanroom::testing::RunScript;
using cleanroom::testing::TestFolder;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A daemon whose images are its own.
class ImageTest : public ::testing::Test {
 protected:
  ImageTest() {
    ::setenv("CLEANROOM_TEST_CACHE", (folder_ / "cache").c_str(), 1);
    daemon_.emplace();
  }
  // Waits, with a limit, until the command succeeds.
  static bool Becomes(const std::string& script) {
    return RunScript("for i in $(seq 200); do if " + script +
                     "; then exit 0; fi; sleep 0.05; done; exit 1")
               .status == 0;
  }
  // Of a pull that is not finished.
  std::string HalfMade() const {
    const std::string cache = folder_ / "cache/cleanroom";
    return RunScript("find " + cache + "/tmp " + cache + "/locks " + cache + "/images -mindepth 1")
        .output;
  }
  bool NothingIsHalfMade() const {
    const std::string cache = folder_ / "cache/cleanroom";
    return Becomes("[ -z \"$(find " + cache + "/tmp " + cache + "/locks -mindepth 1)\" ]");
  }
  // A way to the registry on which layers stop half-way; configs fit.
  static std::unique_ptr<Background> Holding(const DockerRegistry& registry) {
    return std::make_unique<Background>(
        std::vector<std::string>{
            "python3", RequiredEnv("CLEANROOM_SOURCE") + "/tests/support/cutting_proxy.py",
            registry.host(), "hold", "10000"},
        "listening on ");
  }
  static bool ALayerIsOnItsWay(const Background& proxy) {
    return Becomes("curl -fsS http://" + proxy.found() + "/log | grep -q ' 10000$'");
  }
  // What it says goes to a file `said`.
  os::Process StartPull(const std::string& ref, const std::string& said) const {
    const int fd = open(said.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    os::Process process = daemon_->StartCli({"image", "pull", ref, "--log-level", "info"}, fd, fd);
    close(fd);
    return process;
  }
  // Of the daemon and its user.
  std::string Home() const {
    return std::filesystem::path(daemon_->state_dir()).parent_path().parent_path();
  }

  TestFolder folder_;
  DockerRegistry registry_;
  std::optional<Daemon> daemon_;
};

TEST_F(ImageTest, ThePullEndsWithItsLastClient) {
  registry_.PushSmall("app:v");
  const auto proxy = Holding(registry_);
  os::Process first = StartPull(proxy->found() + "/app:v", folder_ / "first");
  ASSERT_TRUE(ALayerIsOnItsWay(*proxy));
  os::Process second = StartPull(proxy->found() + "/app:v", folder_ / "second");
  // It is known to the daemon when it has been told how far the pull is.
  ASSERT_TRUE(Becomes("[ -s " + (folder_ / "second") + " ]"));
  ASSERT_TRUE(first.Kill(SIGKILL));
  ASSERT_TRUE(first.Wait());
  EXPECT_EQ(daemon_->Cli({"image", "ls"}).code, 0);
  EXPECT_NE(HalfMade(), "");
  ASSERT_TRUE(second.Kill(SIGKILL));
  EXPECT_TRUE(NothingIsHalfMade()) << HalfMade();
  const auto whole = daemon_->Cli({"image", "pull", registry_.host() + "/app:v"});
  EXPECT_EQ(whole.code, 0) << whole.err;
}

TEST_F(ImageTest, AKilledDaemonLeavesNothingHalfMade) {
  registry_.PushSmall("app:v");
  const auto proxy = Holding(registry_);
  os::Process pull = StartPull(proxy->found() + "/app:v", folder_ / "said");
  ASSERT_TRUE(ALayerIsOnItsWay(*proxy));
  EXPECT_NE(HalfMade(), "");
  daemon_->CrashAndRestart();
  EXPECT_EQ(HalfMade(), "");
  const auto status = pull.WaitFor(std::chrono::seconds(30));
  ASSERT_TRUE(status && *status) << "the client hangs";
  EXPECT_EQ((*status)->ShellCode(), 1);
  const auto whole = daemon_->Cli({"image", "pull", registry_.host() + "/app:v"});
  EXPECT_EQ(whole.code, 0) << whole.err;
}

TEST_F(ImageTest, CredentialsAreInNoLogErrorOrRecord) {
  DockerRegistry locked(cleanroom::testing::RequirePassword(folder_));
  locked.PushSmall("app:v", "--dest-creds user:s3cret");
  const auto refused = daemon_->Cli({"image", "pull", locked.host() + "/app:v"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("unauthenticated: "));
  EXPECT_THAT(refused.err, HasSubstr("docker login " + locked.host()));
  std::filesystem::create_directory(Home() + "/.docker");
  const auto log_in = [&](const std::string& auth) {
    std::ofstream(Home() + "/.docker/config.json")
        << R"({"auths":{")" << locked.host() << R"(":{"auth":")" << auth << "\"}}}";
  };
  log_in("dXNlcjp3cjBuZw==");  // user:wr0ng
  const auto wrong = daemon_->Cli({"image", "pull", locked.host() + "/app:v"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("unauthenticated: "));
  log_in("dXNlcjpzM2NyZXQ=");
  const auto right = daemon_->Cli({"image", "pull", locked.host() + "/app:v"});
  EXPECT_EQ(right.code, 0) << right.err;
  const std::string said = refused.err + wrong.err + wrong.out + right.err + right.out;
  for (const std::string secret : {"s3cret", "wr0ng", "dXNlcjpzM2NyZXQ=", "dXNlcjp3cjBuZw=="}) {
    EXPECT_THAT(said, Not(HasSubstr(secret)));
    const auto found = RunScript("grep -rlaF --exclude-dir=.docker -e " + secret + " " + Home() +
                                 " " + (folder_ / "cache") + " || true");
    EXPECT_EQ(found.output, "");
  }
  // The search finds what is there.
  EXPECT_NE(RunScript("grep -rlaF app:v " + (folder_ / "cache")).output, "");
}

TEST_F(ImageTest, PlainHttpIsForRegistriesOnThisHost) {
  registry_.PushSmall("app:v");
  const auto pulled = daemon_->Cli({"image", "pull", "--plain-http", registry_.host() + "/app:v"});
  EXPECT_EQ(pulled.code, 0) << pulled.err;
  const auto refused = daemon_->Cli({"image", "resolve", "--plain-http", "registry.invalid/app:v"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, StartsWith("cleanroom: failed_precondition: "));
  EXPECT_THAT(refused.err, HasSubstr("http to a registry on this machine"));
}

TEST_F(ImageTest, ARegistryThatCannotBeReachedIsNamedInTheRemedy) {
  const std::string gone = DockerRegistry().host();
  const Outcome pull = daemon_->Cli({"image", "pull", gone + "/app:v"});
  EXPECT_EQ(pull.code, 1);
  EXPECT_THAT(pull.err, HasSubstr("upstream_error: image " + gone + "/app:v"));
  EXPECT_THAT(pull.err, HasSubstr("://" + gone + "/v2/"));
  EXPECT_THAT(pull.err, Not(HasSubstr("doctor")));
}

// kB of memory that the process has had at most.
uint64_t PeakKib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  while (status >> word) {
    if (word != "VmHWM:") continue;
    uint64_t kib = 0;
    status >> kib;
    return kib;
  }
  return 0;
}

// An image of one layer, as an OCI layout in `folder`; `compressed` writes the layer. What the
// layer unpacks to need not be true.
void MakeLayout(const std::string& folder, const std::string& compressed, const std::string& type) {
  const auto made = RunScript("mkdir -p " + folder + R"(/blobs/sha256 && cd )" + folder + R"(
put() { d=$(sha256sum "$1" | cut -d' ' -f1); s=$(stat -c %s "$1"); mv "$1" "blobs/sha256/$d"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$2" "$d" "$s"; }
zeros=$(printf '%064d' 0)
)" + "{ " + compressed + R"(; } >layer
layer=$(put layer application/vnd.oci.image.layer.v1.)" +
                              type + R"()
echo '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:'$zeros'"]}}' >config
config=$(put config application/vnd.oci.image.config.v1+json)
m=application/vnd.oci.image.manifest.v1+json
echo '{"schemaVersion":2,"mediaType":"'$m'","config":'"$config"',"layers":['"$layer"']}' >manifest
manifest=$(put manifest $m)
echo '{"schemaVersion":2,"manifests":['"$manifest"']}' >index.json
echo '{"imageLayoutVersion":"1.0.0"}' >oci-layout)");
  ASSERT_EQ(made.status, 0) << made.output;
}

// A tar of one file, replaced again and again; no two entries are alike, so that it is the number
// of entries that is too large and not how much they expand.
void WriteEntries(const std::string& path, int count) {
  FILE* out = ::popen(("zstd -q -1 -o " + path).c_str(), "we");
  ASSERT_NE(out, nullptr);
  cleanroom::testing::TarBuilder::Options options;
  uint32_t random = 1;
  for (int i = 0; i < count; ++i) {
    random = random * 1664525 + 1013904223;
    options.mtime = random >> 1;
    options.uid = random >> 12;
    const std::string header = cleanroom::testing::TarBuilder().File("f", "", options).bytes();
    if (std::fwrite(header.data(), 1, header.size(), out) != header.size()) break;
  }
  ASSERT_EQ(::pclose(out), 0);
}

TEST_F(ImageTest, BombsOfLayersAreRefusedAndLeaveNothing) {
  constexpr uint64_t kMaxGrowthKib = 96 << 10;
  registry_.PushSmall("app:small");
  MakeLayout(folder_ / "expansion",
             "truncate -s 400M zeros-file; tar -c zeros-file | gzip -6; rm zeros-file", "tar+gzip");
  std::ofstream(folder_ / "huge.tar", std::ios::binary)
      << cleanroom::testing::TarBuilder().Pax("size", "70000000000").File("f", "x").Finish();
  MakeLayout(folder_ / "size", "gzip <" + (folder_ / "huge.tar"), "tar+gzip");
  WriteEntries(folder_ / "entries.zst", 2'000'001);
  MakeLayout(folder_ / "entries", "cat " + (folder_ / "entries.zst"), "tar+zstd");
  // What a good image costs is not what is asked here.
  ASSERT_EQ(daemon_->Cli({"image", "pull", registry_.host() + "/app:small"}).code, 0);
  const uint64_t before = PeakKib(daemon_->pid());
  for (const auto& [bomb, says] :
       {std::pair("expansion", "unpacks to more than 300 times its size"),
        std::pair("size", "a file larger than 68719476736 bytes"),
        std::pair("entries", "more than 2000000 entries")}) {
    registry_.Push("oci:" + (folder_ / bomb), "bomb:" + std::string(bomb));
    const Outcome pull = daemon_->Cli({"image", "pull", registry_.host() + "/bomb:" + bomb});
    EXPECT_EQ(pull.code, 1) << bomb;
    EXPECT_THAT(pull.err, HasSubstr("resource_exhausted: ")) << bomb;
    EXPECT_THAT(pull.err, HasSubstr(says)) << bomb;
    EXPECT_THAT(pull.err, HasSubstr("Use another image")) << bomb;
    EXPECT_TRUE(NothingIsHalfMade()) << HalfMade();
    EXPECT_THAT(daemon_->Cli({"image", "ls"}).out, Not(HasSubstr("bomb"))) << bomb;
    EXPECT_LT(PeakKib(daemon_->pid()), before + kMaxGrowthKib) << bomb;
  }
  registry_.PushSmall("app:other");
  const Outcome good = daemon_->Cli({"image", "pull", registry_.host() + "/app:other"});
  EXPECT_EQ(good.code, 0) << good.err;
}

// A registry that takes the connection and says nothing keeps nobody.
TEST_F(ImageTest, TheDaemonStopsWhileARegistryIsSilent) {
  const Background silent(
      {"python3", "-c",
       "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
       "print('listening on 127.0.0.1:%d' % s.getsockname()[1], flush=True)\n"
       "c, _ = s.accept(); print(c.recv(1), flush=True)\ns.accept()"},
      "listening on ");
  os::Process resolve = [&] {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    os::Process process =
        daemon_->StartCli({"image", "resolve", silent.found() + "/app:v"}, null, null);
    close(null);
    return process;
  }();
  ASSERT_TRUE(Becomes("ss -tn state established | grep -q " + silent.found()));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(daemon_->Stop(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  const auto status = resolve.WaitFor(std::chrono::seconds(10));
  EXPECT_TRUE(status && *status) << "the client hangs";
}

TEST_F(ImageTest, AnImportIsKnownByItsNames) {
  const std::string tar = RequiredEnv("CLEANROOM_TEST_IMAGE");
  const Outcome first = daemon_->Cli({"image", "import", "local/one:12", tar});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("localhost/local/one@sha256:"));
  const Outcome second = daemon_->Cli({"image", "import", "registry.example/two:12", tar});
  EXPECT_THAT(second.out, StartsWith("registry.example/two@sha256:"));
  const std::string digest = first.out.substr(first.out.find('@') + 1, 71);
  for (const std::string& name :
       {std::string("local/one:12"), std::string("localhost/local/one:12"), digest}) {
    const Outcome resolved = daemon_->Cli({"image", "resolve", name});
    EXPECT_EQ(resolved.out, first.out) << name << ": " << resolved.err;
  }
  const Outcome ran = daemon_->Cli({"exec", "--rm", "--image", "local/one:12", "--", "echo", "up"});
  EXPECT_EQ(ran.out, "up\n") << ran.err;
}

TEST_F(ImageTest, BumpRefTouchesTheReferenceAlone) {
  const std::string digest = registry_.PushSmall("team/app:v2");
  registry_.Push("docker://" + registry_.host() + "/team/app:v2", "team/app:latest",
                 "--src-tls-verify=false");
  const std::string before = "# Ours.\r\nversion: 1   # one\r\nsandbox:\r\n  image: { ref: '",
                    after = "' }   # pinned by CI\r\n\r\n# The end.";
  std::filesystem::create_directory(folder_ / "real");
  const std::string real = folder_ / "real/policy.yaml", link = folder_ / "cleanroom.yaml";
  std::ofstream(real, std::ios::binary)
      << before << registry_.host() << "/team/app@sha256:" << std::string(64, '0') << after;
  std::filesystem::create_symlink("real/policy.yaml", link);
  ASSERT_EQ(::chmod(real.c_str(), 0640), 0);
  const std::string name = registry_.host() + "/team/app", tagged = name + ":v2";
  const auto at_digest = [&](std::string of) { return of.append("@").append(digest); };
  std::string bumped_file;
  // The tag that was asked for stays, to be asked for the next time.
  for (const auto& [arguments, pinned] :
       {std::pair<std::vector<std::string>, std::string>{{"image", "bump-ref"}, at_digest(name)},
        {{"image", "set-ref", tagged}, at_digest(tagged)},
        {{"image", "bump-ref"}, at_digest(tagged)}}) {
    const auto bumped = daemon_->Cli(arguments, "", std::chrono::seconds(60), folder_.path());
    EXPECT_EQ(bumped.code, 0) << bumped.err;
    EXPECT_EQ(bumped.out, pinned + "\n");
    bumped_file = std::string(before).append(pinned).append(after);
    EXPECT_EQ(ReadAll(real), bumped_file);
  }
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  struct stat status{};
  ASSERT_EQ(::stat(real.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  // What cannot be resolved changes nothing.
  const auto missing = daemon_->Cli({"image", "bump-ref", registry_.host() + "/team/app:nothing"},
                                    "", std::chrono::seconds(60), folder_.path());
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(ReadAll(real), bumped_file);
}

}  // namespace
}  // namespace cleanroom::test
