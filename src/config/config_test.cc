#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace cleanroom::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Errors(std::string_view yaml) {
  const auto result = Parse(yaml, "f");
  return result ? "accepted" : document::Format(result.error());
}

TEST(Config, NothingIsTheDefaults) {
  for (std::string_view yaml : {"", "# only comments\n", "---\n", "{}"}) {
    const auto parsed = Parse(yaml, "f");
    ASSERT_TRUE(parsed) << Errors(yaml);
    EXPECT_EQ(parsed->config, Config());
  }
  EXPECT_EQ(Config().qemu.vcpus, 2);
  EXPECT_EQ(Config().qemu.memory_mib, 1024);
  EXPECT_EQ(Config().firecracker.launch_seconds, 30);
  EXPECT_EQ(Config().audit_days, 90);
}

TEST(Config, ReadsEveryKey) {
  const auto parsed = Parse(R"(default_backend: firecracker
control_host: https://box.example.com:7777
default_image: example.com/base:1
backends:
  qemu:
    binary_path: /opt/qemu
    kernel_image: ""
    accel: tcg
    vcpus: 4
    memory_mib: 2048
    disk_mib: 4096
    launch_seconds: 60
    snapshots: { enabled: false }
  firecracker: { binary_path: firecracker, kernel_image: "", privileged_mode: sudo, vcpus: 1 }
  darwin-vz: { kernel_image: "", rootfs: "", vcpus: 2, memory_mib: 1024, launch_seconds: 30 }
gateway:
  listen: 127.0.0.1:8170
  credentials:
    Git.example.com: { username: u, token_env: GIT_TOKEN }
    b.example.com: { token: s3cret }
  git: { cache_hosts: [git.example.com], http_hosts: [git.internal.example] }
  oci: { registries: ["localhost:5000", registry.example.com] }
  fetch: { hosts: ["*.example.com"] }
network: { resolvers: [192.0.2.1, "192.0.2.2:5353", "2001:db8::1", "[2001:db8::2]:54"] }
cache: { max_bytes: 20GiB, peers: ["http://peer.example.com:1"] }
pool: { size: 2, memory_mib: 4096, hold: false }
auth: { required: true, tokens: [ { name: ci, token_file: /etc/token } ] }
listeners: { idle_seconds: 30, max_connections: 16 }
observability: { logs: { format: json }, otlp: "http://c.example.com:4317", metrics_listen: 127.0.0.1:9 }
retention: { audit_days: 7 }
)",
                            "f");
  ASSERT_TRUE(parsed) << document::Format(parsed.error());
  const Config& c = parsed->config;
  EXPECT_EQ(c.default_backend, "firecracker");
  EXPECT_EQ(c.control_host, "https://box.example.com:7777");
  EXPECT_EQ(c.default_image, "example.com/base:1");
  EXPECT_EQ(c.qemu.binary_path, "/opt/qemu");
  EXPECT_EQ(c.qemu.kernel_image, "");
  EXPECT_EQ(c.qemu.accel, Accelerator::kTcg);
  EXPECT_EQ(c.qemu.vcpus, 4);
  EXPECT_EQ(c.qemu.memory_mib, 2048);
  EXPECT_EQ(c.qemu.disk_mib, 4096);
  EXPECT_EQ(c.qemu.launch_seconds, 60);
  EXPECT_FALSE(c.qemu.snapshots.enabled);
  EXPECT_EQ(c.firecracker.vcpus, 1);
  EXPECT_TRUE(c.darwin_vz);
  EXPECT_EQ(c.gateway.credentials.at("git.example.com").token.env, "GIT_TOKEN");
  EXPECT_EQ(c.gateway.credentials.at("b.example.com").token.value.Reveal(), "s3cret");
  EXPECT_THAT(c.gateway.oci_registries, ElementsAre("localhost:5000", "registry.example.com"));
  EXPECT_THAT(c.gateway.git_http_hosts, ElementsAre("git.internal.example"));
  EXPECT_THAT(c.gateway.fetch_hosts, ElementsAre("*.example.com"));
  EXPECT_THAT(c.network.resolvers, ElementsAre("192.0.2.1:53", "192.0.2.2:5353", "[2001:db8::1]:53",
                                               "[2001:db8::2]:54"));
  EXPECT_EQ(c.cache.max_bytes, 20LL << 30);
  EXPECT_EQ(c.pool.size, 2);
  EXPECT_EQ(c.pool.hold, false);
  EXPECT_TRUE(c.auth.required);
  EXPECT_EQ(c.auth.tokens.at(0).source.file, "/etc/token");
  EXPECT_EQ(c.listeners.idle_seconds, 30);
  EXPECT_EQ(c.listeners.max_connections, 16);
  EXPECT_EQ(c.observability.log_format, LogFormat::kJson);
  EXPECT_EQ(c.audit_days, 7);
  ASSERT_EQ(parsed->warnings.size(), 1u);
  EXPECT_THAT(document::Format(parsed->warnings[0]), HasSubstr("f:14:"));
}

TEST(Config, RefusesWithItsPlace) {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"default_backed: qemu\n",
       "f:1:1: unknown key `default_backed`; did you mean `default_backend`?"},
      {"default_backend: docker\n",
       "f:1:18: default_backend: expected qemu or firecracker or darwin-vz"},
      {"default_image: A\n", "default_image: `A` is not an image reference"},
      {"qemu: {}\n", "`qemu` belongs at `backends.qemu`"},
      {"control_host: ftp://a\n", "f:1:15: control_host: `ftp://a` is not an endpoint"},
      {"backends: { qemu: { vcpus: 65 } }\n", "write 1 to 64"},
      {"backends: { qemu: { vcpus: 0 } }\n", "backends.qemu.vcpus: 0 is out of range"},
      {"backends: { qemu: { accel: hvf } }\n", "expected auto or kvm or tcg, found `hvf`"},
      {"backends: { firecracker: { accel: kvm } }\n", "backends.firecracker: unknown key `accel`"},
      {"backends: { qemu: { memory_mib: 1GiB } }\n", "expected a whole number, found `1GiB`"},
      {"gateway: { credentials: { a.example: {} } }\n",
       "write exactly one of `token`, `token_env` and `token_file`"},
      {"gateway: { credentials: { a.example: { token: a, token_env: B } } }\n",
       "write exactly one of"},
      {"gateway: { credentials: [] }\n", "expected a map from host to credential, found a list"},
      {"network: { resolvers: [dns.example.com] }\n", "`dns.example.com`"},
      {"network: { resolvers: [\"192.0.2.1:0\"] }\n", "`192.0.2.1:0` is not ADDRESS"},
      {"gateway: { oci: { registries: [a/b] } }\n", "`a/b` is not a registry"},
      {"cache: { max_bytes: -1 }\n", "expected a size"},
      {"auth: { required: true }\n", "auth.tokens: is empty although `auth.required` is true"},
      {"auth: { tokens: [ { token: x } ] }\n", "`name` is missing"},
      {"retention: { audit_days: 0 }\n", "0 is out of range"},
      {"listeners: { max_connections: 0 }\n", "0 is out of range"},
      {"listeners: { idle_seconds: -1 }\n", "out of range"},
      {"pool: { hold: 1 }\n", "f:1:15: "},
      {"pool: { size: 1, size: 2 }\n", "f:1:18: duplicate key `size`"},
      {"[]\n", "f:1:1: expected a map, found a list"},
  };
  for (const auto& [yaml, error] : kCases) EXPECT_THAT(Errors(yaml), HasSubstr(error)) << yaml;
  // A token's value is never repeated.
  EXPECT_THAT(Errors("auth: { tokens: [ { name: a, token: s3cret, token_env: X } ] }\n"),
              ::testing::Not(HasSubstr("s3cret")));
}

TEST(InitText, ParsesToTheDefaultsAlsoWhenUncommented) {
  const auto text = InitText();
  ASSERT_TRUE(text);
  ASSERT_TRUE(Parse(*text, "f")) << Errors(*text);
  EXPECT_EQ(Parse(*text, "f")->config, Config());
  EXPECT_EQ(Parse(*InitText("firecracker"), "f")->config.default_backend, "firecracker");
  EXPECT_EQ(Parse(*InitText("darwin-vz"), "f")->config.default_backend, "darwin-vz");
  EXPECT_FALSE(InitText("docker"));

  // Every commented key is a real one: take the `# ` from the lines that are YAML.
  std::string open;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const bool prose =
        line.starts_with("# ") && (line.find(": ") == line.npos && !line.ends_with(':') &&
                                   line.find("- ") == line.npos && line.find(":  ") == line.npos);
    if (line.starts_with("# ") && !prose && line[2] != '`' && !(line[2] >= 'A' && line[2] <= 'Z')) {
      line.erase(0, 2);
    }
    open += line + "\n";
  }
  const auto parsed = Parse(open, "f");
  ASSERT_TRUE(parsed) << document::Format(parsed.error()) << open;
  EXPECT_EQ(parsed->config.qemu, Config().qemu);
  EXPECT_EQ(parsed->config.firecracker, Config().firecracker);
  EXPECT_EQ(parsed->config.observability, Config().observability);
  EXPECT_EQ(parsed->config.auth.tokens.size(), 1u);
  EXPECT_EQ(parsed->config.gateway.credentials.size(), 1u);
}

TEST(Load, AnAbsentFileIsNotFoundOrTheDefaults) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("config_test." + std::to_string(getpid()) + ".yaml");
  EXPECT_EQ(Load(path).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LoadOrDefault(path)->config, Config());
  std::ofstream(path) << "x: 1\n";
  const auto bad = LoadOrDefault(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(bad.error().message(), HasSubstr(".yaml:1:1: unknown key `x`"));
}

}  // namespace
}  // namespace cleanroom::config
