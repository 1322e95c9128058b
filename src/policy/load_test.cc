#include "policy/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace cleanroom::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kRef =
    "example.com/base@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kMinimal = "version: 1\nsandbox:\n  image: { ref: " + kRef + " }\n";

// Every diagnostic of a file that must be refused, a line each.
std::string Errors(const std::string& yaml) {
  const ParseResult result = Parse(yaml, "f");
  return result ? "accepted" : document::Format(result.error());
}

TEST(Parse, FillsInDefaults) {
  const ParseResult policy = Parse(kMinimal, "f");
  ASSERT_TRUE(policy) << Errors(kMinimal);
  EXPECT_EQ(policy->image.ToString(), kRef);
  EXPECT_EQ(policy->ttl_minutes, 60);
  EXPECT_FALSE(policy->repository);
  EXPECT_FALSE(policy->docker_required);
  EXPECT_EQ(policy->network.default_action, NetworkDefault::kDeny);
  EXPECT_TRUE(policy->network.allow.empty());
}

TEST(Parse, ReadsTheWholeGrammar) {
  const ParseResult policy = Parse(R"(version: 1
repository:
  enabled: true
  remote: upstream
  path: /srv//src/
  submodules: true
  network: { allow: [ "git.example.com:443" ] }
sandbox:
  image: { ref: )" + kRef + R"( }
  resources: { vcpus: 4, memory: 8GiB, disk: 16GB }
  ttl_minutes: 90
  docker: { required: true }
  network:
    default: deny
    allow:
      - api.github.com:443
      - plain.example.com
      - { host: registry.example.org., ports: [8080, 443, 443] }
      - { host: "*.example.com", ports: [443], reason: some text }
      - { cidr: 10.1.0.0/16, ports: [5432], protocol: tcp }
      - { host: 192.0.2.7, ports: [53], protocol: udp }
      - "[2001:db8::1]:8443"
      - 2001:db8::2
    deny: [ { host: evil.example.com }, { cidr: 169.254.169.254/32, reason: metadata } ]
  dependencies:
    - name: node
      command: npm ci
      env: { CI: true, N: 3, EMPTY: "" }
      inputs: { files: [package.json, ./package-lock.json] }
      outputs: { dirs: [node_modules/], files: [.stamp] }
  services:
    - name: database
      command: |
        docker compose up -d
        docker compose stop
      outputs: { dirs: [/var/lib/docker] }
  run: { before: docker compose up -d }
registries:
  npm:
    allowed_hosts: [registry.example.org]
    fallback: deny
    lockfile: { mode: warn, files: [package-lock.json] }
  go: { allowed_hosts: ["*.golang.example"] }
secrets:
  - { id: npm-token, allowed_hosts: [registry.example.org], header: X-Token, ttl_seconds: 60 }
  - { id: plain, allowed_hosts: [a.example.com] }
expose:
  https:
    base: "{sandbox_id}.cleanroom.localhost"
    routes: [ { port: 3000, hosts: ["app.{sandbox_id}.localhost", WEB.localhost] } ]
metadata: { owner: team, n: 3, nested: { list: [1.5, true, null, "7"] } }
)",
                                   "f");
  ASSERT_TRUE(policy) << document::Format(policy.error());
  ASSERT_TRUE(policy->repository);
  EXPECT_EQ(policy->repository->remote, "upstream");
  EXPECT_EQ(policy->repository->path, "/srv/src");
  EXPECT_TRUE(policy->repository->submodules);
  EXPECT_EQ(policy->repository->allow.size(), 1u);
  EXPECT_EQ(policy->resources.vcpus, 4);
  EXPECT_EQ(policy->resources.memory_bytes, 8LL << 30);
  EXPECT_EQ(policy->resources.disk_bytes, 16'000'000'000);
  EXPECT_EQ(policy->ttl_minutes, 90);
  EXPECT_TRUE(policy->docker_required);

  std::vector<std::string> rules;
  for (const AllowRule& rule : policy->network.allow) {
    std::string text = ToString(rule.target) + " " + std::string(ToString(rule.protocol));
    for (uint16_t port : rule.ports) text += " " + std::to_string(port);
    rules.push_back(text);
  }
  EXPECT_THAT(rules, ElementsAre("api.github.com tcp 443", "plain.example.com tcp 80 443",
                                 "registry.example.org tcp 443 8080", "*.example.com tcp 443",
                                 "10.1.0.0/16 tcp 5432", "192.0.2.7/32 udp 53",
                                 "2001:db8::1/128 tcp 8443", "2001:db8::2/128 tcp 80 443"));
  EXPECT_EQ(policy->network.allow[3].reason, "some text");
  EXPECT_EQ(policy->network.allow[3].line, 19);
  EXPECT_EQ(policy->network.deny.size(), 2u);

  ASSERT_EQ(policy->dependencies.size(), 1u);
  const Block& node = policy->dependencies[0];
  EXPECT_THAT(node.env,
              ElementsAre(std::pair("CI", "true"), std::pair("EMPTY", ""), std::pair("N", "3")));
  EXPECT_THAT(node.input_files, ElementsAre("package.json", "package-lock.json"));
  EXPECT_THAT(node.output_dirs, ElementsAre("node_modules"));
  EXPECT_THAT(node.output_files, ElementsAre(".stamp"));
  ASSERT_EQ(policy->services.size(), 1u);
  EXPECT_EQ(policy->services[0].command, "docker compose up -d\ndocker compose stop\n");
  EXPECT_EQ(policy->run_before, "docker compose up -d");
  EXPECT_EQ(policy->registries.at(Ecosystem::kNpm).lockfile->mode, LockfileMode::kWarn);
  EXPECT_EQ(policy->registries.at(Ecosystem::kGo).allowed_hosts[0].text(), "*.golang.example");
  EXPECT_EQ(policy->secrets[0].header, "X-Token");
  EXPECT_EQ(policy->secrets[0].ttl_seconds, 60);
  EXPECT_EQ(policy->secrets[1].header, "Authorization");
  ASSERT_TRUE(policy->expose_https);
  EXPECT_THAT(policy->expose_https->routes[0].hosts,
              ElementsAre("app.{sandbox_id}.localhost", "web.localhost"));
  EXPECT_EQ(policy->metadata_json,
            R"({"n":3,"nested":{"list":["1.5",true,null,"7"]},"owner":"team"})");
  EXPECT_EQ(policy->key_lines.at("sandbox.docker"), 12);
}

TEST(Parse, ReadsTheEarlierSpellingOfDocker) {
  const ParseResult policy =
      Parse(kMinimal + "  services:\n    docker:\n      required: true\n", "f");
  ASSERT_TRUE(policy) << document::Format(policy.error());
  EXPECT_TRUE(policy->docker_required);
  EXPECT_TRUE(policy->services.empty());
  EXPECT_EQ(policy->key_lines.at("sandbox.docker"), 5);
}

TEST(Parse, ReadsStageLists) {
  const ParseResult policy = Parse(kMinimal + R"(  network:
    dependencies: { allow: [registry.example.com:443] }
    execution: { allow: [] }
)",
                                   "f");
  ASSERT_TRUE(policy) << document::Format(policy.error());
  EXPECT_EQ(policy->network.stages.at(Stage::kDependencies).size(), 1u);
  EXPECT_TRUE(policy->network.stages.at(Stage::kExecution).empty());
}

TEST(Parse, ReportsEverythingInFileOrder) {
  EXPECT_EQ(Errors(R"(version: 2
sandox: {}
sandbox:
  image: { ref: example.com/base:1 }
  netwrk: {}
  resources: { vcpus: many, memory: 8 }
  network:
    default: allow
    allow: [ "a b:443" ]
)"),
            R"(f:1:10: version: 2 is out of range; write 1 to 1
f:2:1: unknown key `sandox`; did you mean `sandbox`?
f:4:17: sandbox.image.ref: `example.com/base:1` names a tag where a digest is due; `cleanroom image resolve example.com/base:1` prints the pinned reference
f:5:3: sandbox: unknown key `netwrk`; did you mean `network`?
f:6:23: sandbox.resources.vcpus: expected a whole number, found `many`
f:6:37: sandbox.resources.memory: expected a size such as 8GiB, found `8`; write a whole number and KiB, MiB, GiB, K, M, G (1024s) or KB, MB, GB (1000s)
f:8:14: sandbox.network.default: expected deny, found `allow`; a file cannot open the network (the flag --dangerously-allow-all can)
f:9:14: sandbox.network.allow[0]: `a b` is not a host name: only letters, digits, `-`, `_` and `.` may stand in it)");
}

// A fragment below kMinimal's `sandbox:` (indented by two) or beside it, and what its refusal says.
TEST(Parse, RefusesWithPlaceAndRemedy) {
  const struct {
    std::string_view yaml;
    std::string_view error;
  } kCases[] = {
      // Shape
      {"  docker: true\n", "f:4:11: sandbox.docker: expected a map, found `true`"},
      {"  docker: {}\n",
       "f:4:11: sandbox.docker: `required` is missing; write required: true or false"},
      {"  docker: { required: \"true\" }\n", "expected true or false, found `true` in quotes"},
      {"  docker: { required: yes }\n", "expected true or false, found `yes`"},
      {"  network:\n",
       "sandbox.network: expected a map, found nothing; remove the key or write its values"},
      {"  network: { allow: }\n", "expected a list, found nothing; write [] for an empty one"},
      {"  network: { allow: [ ~ ] }\n", "sandbox.network.allow[0]: expected text, found nothing"},
      {"  ttl_minutes: 0\n", "0 is out of range; write 1 to 525600"},
      {"  ttl_minutes: 1.5\n", "expected a whole number, found `1.5`"},
      {"  ttl_minutes: \"60\"\n", "expected a whole number, found `60` in quotes; remove them"},
      {"  ttl_minutes: [60]\n", "expected a whole number, found a list"},
      {"  allow: []\n", "f:4:3: sandbox: `allow` belongs at `sandbox.network.allow`"},
      {"  repository: {}\n", "`repository` belongs at `repository`"},
      {"docker: { required: true }\n", "f:4:1: `docker` belongs at `sandbox.docker`"},
      {"dependencies: []\n", "`dependencies` belongs at `sandbox.dependencies`"},
      {"hash: x\n", "unknown key `hash`"},
      // Sizes
      {"  resources: { memory: 1.5GiB }\n", "expected a size such as 8GiB, found `1.5GiB`"},
      {"  resources: { memory: 1KiB }\n", "1KiB is out of range; write 64MiB to 1TiB"},
      {"  resources: { memory: 99999999999999999GiB }\n", "expected a size"},
      {"  resources: { memory: -1GiB }\n", "expected a size"},
      {"  resources: { vcpus: 0 }\n", "0 is out of range; write 1 to 64"},
      // Docker spelt twice, services overloaded
      {"  docker: { required: true }\n  services: { docker: { required: true } }\n",
       "f:5:23: sandbox.services.docker: is the earlier spelling of `sandbox.docker`, which stands "
       "on line 4; keep one"},
      {"  services: { docker: { required: true }, db: {} }\n", "unknown key `db`"},
      {"  services: { db: { command: x } }\n",
       "blocks are a list: services: [ { name, command } ]"},
      {"  services: true\n", "sandbox.services: expected a list, found `true`"},
      // Rules
      {"  network: { allow: [ \"a.example:0\" ] }\n", "`0` is no port"},
      {"  network: { allow: [ \"a.example:65536\" ] }\n", "`65536` is no port"},
      {"  network: { allow: [ \"a.example:http\" ] }\n", "`http` is no port"},
      {"  network: { allow: [ \"https://a.example\" ] }\n",
       "write the host alone, without a scheme or path"},
      {"  network: { allow: [ 10.0.0.0/8 ] }\n", "for an address block use `cidr`"},
      {"  network: { allow: [ { host: \"a.example:443\" } ] }\n", "write ports in `ports`"},
      {"  network: { allow: [ { host: a.example, ports: [] } ] }\n",
       "ports: is empty; name a port"},
      {"  network: { allow: [ { host: a.example, ports: [0] } ] }\n",
       "ports[0]: 0 is out of range; write 1 to 65535"},
      {"  network: { allow: [ { host: a.example, ports: 443 } ] }\n",
       "ports: expected a list, found `443`"},
      {"  network: { allow: [ { host: a.example, protocol: icmp } ] }\n",
       "expected tcp or udp, found `icmp`"},
      {"  network: { allow: [ { host: a.example, cidr: 10.0.0.0/8 } ] }\n",
       "`host` and `cidr` exclude each other"},
      {"  network: { allow: [ { ports: [1] } ] }\n",
       "allow[0].host: is missing; name a `host` or a `cidr`"},
      {"  network: { allow: [ { cidr: 10.1.2.3/16 } ] }\n", "write 10.1.0.0/16 for the block"},
      {"  network: { allow: [ { host: \"a.*.example\" } ] }\n",
       "`*` may stand only for the whole left-most label"},
      {"  network: { allow: [ { host: \"*\" } ] }\n",
       "`*` may stand only for the whole left-most label"},
      {"  network: { allow: [ { host: a.example, reason: \"x\\ny\" } ] }\n", "must be one line"},
      {"  network: { deny: [ a.example ] }\n",
       "expected { host: … } or { cidr: … }, found `a.example`"},
      {"  network: { deny: [ { host: a.example, ports: [1] } ] }\n",
       "`ports` belongs at `sandbox.network.allow`: a deny rule covers every port"},
      {"  network: { allow: [], execution: { allow: [] } }\n",
       "sandbox.network.execution: a stage's list cannot be mixed with `sandbox.network.allow` "
       "(line 4)"},
      {"  network: { execution: {} }\n", "`allow` is missing; write allow: [] for none"},
      {"  network: { execution: { deny: [] } }\n", "unknown key `deny`"},
      // Blocks
      {"  dependencies: [ { command: x } ]\n", "dependencies[0]: `name` is missing"},
      {"  dependencies: [ { name: a } ]\n", "`command` is missing"},
      {"  dependencies: [ { name: -a, command: x } ]\n", "is not a block's name"},
      {"  dependencies: [ { name: a, command: x }, { name: a, command: y } ]\n",
       "another block is called `a`"},
      {"  dependencies: [ { name: a, command: \"\" } ]\n", "command: is empty"},
      {"  dependencies: [ { name: a, command: x, env: { 1A: b } } ]\n",
       "`1A` is not a variable's name"},
      {"  dependencies: [ { name: a, command: x, env: { A: } } ]\n",
       "write \"\" for an empty value"},
      {"  dependencies: [ { name: a, command: x, inputs: { dirs: [] } } ]\n", "unknown key `dirs`"},
      {"  dependencies: [ { name: a, command: x, inputs: { files: [/etc/passwd] } } ]\n",
       "must be relative to the repository"},
      {"  dependencies: [ { name: a, command: x, inputs: { files: [../x] } } ]\n",
       "leads out with `..`"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [/] } } ]\n",
       "`/` cannot be an output"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [.] } } ]\n",
       "`.` is or contains the repository"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [/workspace/] } } ]\n",
       "`/workspace` is or contains the repository"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [\"*.o\"] } } ]\n",
       "is a pattern"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [~/.cache] } } ]\n",
       "write the absolute path"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [b, b/c] } } ]\n",
       "`b/c` of `a` overlaps `b` of `a`"},
      {"  dependencies: [ { name: a, command: x, outputs: { dirs: [b] } } ]\n"
       "  services: [ { name: s, command: x, outputs: { files: [/workspace/b] } } ]\n",
       "`/workspace/b` of `s` overlaps `b` of `a`; an output belongs to one block"},
      {"  run: { after: x }\n", "`before` is missing"},
      // The rest
      {"repository: { path: workspace }\n", "`workspace` must be an absolute path below `/`"},
      {"repository: { path: / }\n", "must be an absolute path below `/`"},
      {"repository: { remote: --upload-pack=x }\n", "is not the name of a git remote"},
      {"registries: { cargo: {} }\n",
       "unknown key `cargo`; known are npm, pypi, go, rubygems, oci"},
      {"registries: { npm: { fallback: allow } }\n", "expected deny, found `allow`"},
      {"registries: { npm: { lockfile: { mode: strict } } }\n",
       "expected deny_unknown or warn or off"},
      {"secrets: [ { id: a, allowed_hosts: [] } ]\n",
       "is empty; name the hosts that may receive it"},
      {"secrets: [ { id: a } ]\n", "`allowed_hosts` is missing"},
      {"secrets: [ { id: a, allowed_hosts: [b.c], value: s3 } ]\n",
       "a policy holds ids, never values"},
      {"secrets: [ { id: a, allowed_hosts: [b.c] }, { id: a, allowed_hosts: [b.c] } ]\n",
       "another secret is called"},
      {"secrets: [ { id: a, allowed_hosts: [b.c], header: \"A: b\" } ]\n",
       "is not the name of an HTTP header"},
      {"expose: { https: { routes: [ { hosts: [a.b] } ] } }\n", "`port` is missing"},
      {"expose: { https: { base: \"{id}.x\" } }\n",
       "is not a host name with an optional {sandbox_id}"},
      {"expose: { https: { routes: [ { port: 1, hosts: [a.b] }, { port: 2, hosts: [A.b] } ] } }\n",
       "`a.b` is routed twice"},
      {"metadata: [a]\n", "metadata: expected a map, found a list"},
      {"metadata: { a: 1, a: 2 }\n", "duplicate key `a`"},
  };
  for (const auto& c : kCases)
    EXPECT_THAT(Errors(kMinimal + std::string(c.yaml)), HasSubstr(c.error)) << c.yaml;
}

TEST(Parse, RefusesWhatIsNoPolicy) {
  EXPECT_EQ(Errors("[]"), "f:1:1: expected a map, found a list");
  EXPECT_EQ(Errors("hello"), "f:1:1: expected a map, found `hello`");
  EXPECT_EQ(Errors("{}"),
            "f:1:1: `sandbox` is missing; write sandbox: { image: { ref: HOST/REPO@sha256:… } }\n"
            "f:1:1: `version` is missing; write version: 1");
  EXPECT_THAT(Errors("version: 1\nsandbox: {}\n"), HasSubstr("`image` is missing"));
  EXPECT_THAT(Errors("version: 1\nsandbox: { image: {} }\n"), HasSubstr("`ref` is missing"));
}

TEST(Parse, BoundsCounts) {
  std::string many = kMinimal + "  network:\n    allow:\n";
  for (size_t i = 0; i <= kMaxRules; ++i) many += "      - h" + std::to_string(i) + ".example\n";
  EXPECT_THAT(Errors(many), HasSubstr("has 1025 entries; at most 1024 are read"));
}

TEST(Parse, KnowsEveryUnitOfSize) {
  const std::pair<std::string_view, int64_t> kCases[] = {
      {"1GiB", 1LL << 30},       {"1G", 1LL << 30},        {"1g", 1LL << 30},
      {"1GB", 1'000'000'000},    {"65536K", 64LL << 20},   {"65536KiB", 64LL << 20},
      {"100M", 100LL << 20},     {"100MiB", 100LL << 20},  {"100MB", 100'000'000},
      {"100000KB", 100'000'000}, {"\"2 GiB\"", 2LL << 30}, {"1TiB", 1LL << 40},
  };
  for (const auto& [text, bytes] : kCases) {
    const ParseResult policy =
        Parse(kMinimal + "  resources: { memory: " + std::string(text) + " }\n", "f");
    ASSERT_TRUE(policy) << text << document::Format(policy.error());
    EXPECT_EQ(policy->resources.memory_bytes, bytes) << text;
  }
}

class PolicyFileTest : public ::testing::Test {
 protected:
  PolicyFileTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "policy_test.XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~PolicyFileTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name) << text;
  }

  std::filesystem::path directory_;
};

TEST_F(PolicyFileTest, FindsTheFirstOfBothPlaces) {
  const auto none = FindPolicyFile(directory_);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(none.error().message(), HasSubstr(".buildkite/cleanroom.yaml exists"));

  Write(".buildkite/cleanroom.yaml", kMinimal);
  EXPECT_EQ(FindPolicyFile(directory_)->path, directory_ / ".buildkite/cleanroom.yaml");
  EXPECT_EQ(FindPolicyFile(directory_)->warning, "");

  Write("cleanroom.yaml", kMinimal);
  EXPECT_EQ(FindPolicyFile(directory_)->path, directory_ / "cleanroom.yaml");
  EXPECT_THAT(FindPolicyFile(directory_)->warning,
              HasSubstr(".buildkite/cleanroom.yaml is ignored"));
}

TEST_F(PolicyFileTest, LoadsOrSaysEverythingThatIsWrong) {
  Write("cleanroom.yaml", kMinimal);
  EXPECT_TRUE(LoadPolicy(directory_ / "cleanroom.yaml"));
  Write("cleanroom.yaml", "version: 2\nx: 1\n");
  const auto bad = LoadPolicy(directory_ / "cleanroom.yaml");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code(), ErrorCode::kPolicyInvalid);
  EXPECT_THAT(bad.error().message(), HasSubstr("cleanroom.yaml:1:10: version"));
  EXPECT_THAT(bad.error().message(), HasSubstr("cleanroom.yaml:2:1: unknown key `x`"));
  EXPECT_EQ(LoadPolicy(directory_ / "none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LoadPolicy(directory_).error().code(), ErrorCode::kFailedPrecondition);
}

}  // namespace
}  // namespace cleanroom::policy
