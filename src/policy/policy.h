// Policy: what a cleanroom.yaml says, parsed and normalised. docs/policy.md is the grammar.
//
// A Policy is data for whoever reads or builds one; what a sandbox runs under is the CompiledPolicy
// made from it (compiled.h). Lines are those of the file it came from, 0 when there was none; they
// never count in comparisons.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/image_ref.h"
#include "net/host_name.h"
#include "net/ip_address.h"

namespace cleanroom::policy {

// Limits of a policy, beside those of the document that carries it (document.h).
inline constexpr size_t kMaxRules = 1024;   // of each list of rules
inline constexpr size_t kMaxPorts = 256;    // of a rule
inline constexpr size_t kMaxBlocks = 64;    // of a stage
inline constexpr size_t kMaxPaths = 256;    // of a list of paths
inline constexpr size_t kMaxEntries = 256;  // of every other list or map

enum class Protocol : uint8_t { kTcp, kUdp };
enum class NetworkDefault : uint8_t { kDeny, kAllow };
// When a connection is made: while the repository is fetched, setup blocks run, or the user's
// command does.
enum class Stage : uint8_t { kRepository, kDependencies, kServices, kExecution };
enum class Ecosystem : uint8_t { kNpm, kPypi, kGo, kRubygems, kOci };
enum class LockfileMode : uint8_t { kDenyUnknown, kWarn, kOff };

std::string_view ToString(Protocol protocol);
std::string_view ToString(NetworkDefault action);
std::string_view ToString(Stage stage);
std::string_view ToString(Ecosystem ecosystem);
std::string_view ToString(LockfileMode mode);

// A name or an address block, never both: names match only names, blocks only IP literals.
using Target = std::variant<net::HostPattern, net::Cidr>;
std::string ToString(const Target& target);
// A host as written in `host:`; an IP literal (IPv6 also in brackets) becomes a block of one.
Result<Target> ParseHostTarget(std::string_view text);

struct AllowRule {
  Target target;
  std::vector<uint16_t> ports = {80, 443};  // sorted, distinct, never empty
  Protocol protocol = Protocol::kTcp;
  std::string reason;
  int line = 0;
};

// Covers every port and protocol.
struct DenyRule {
  Target target;
  std::string reason;
  int line = 0;
};

struct Network {
  // kAllow is only built, never read from a file.
  NetworkDefault default_action = NetworkDefault::kDeny;
  std::vector<AllowRule> allow;                    // every stage; empty when `stages` is not
  std::map<Stage, std::vector<AllowRule>> stages;  // kDependencies, kServices, kExecution
  std::vector<DenyRule> deny;                      // every stage
};

struct Repository {
  bool enabled = true;
  std::string remote = "origin";
  std::string path = "/workspace";
  bool submodules = false;
  std::vector<AllowRule> allow;  // besides the network's, while the repository is fetched
};

// Floors: the host's larger defaults win.
struct Resources {
  std::optional<int> vcpus;
  std::optional<int64_t> memory_bytes;
  std::optional<int64_t> disk_bytes;
};

// A setup step whose outputs are cached under its inputs. Blocks run in the order written.
struct Block {
  std::string name;
  std::string command;
  std::map<std::string, std::string> env;
  std::vector<std::string> input_files;  // relative to the repository
  std::vector<std::string> output_dirs;  // relative to the repository, or absolute; normalised
  std::vector<std::string> output_files;
};

struct Lockfile {
  LockfileMode mode = LockfileMode::kDenyUnknown;
  std::vector<std::string> files;
};

struct Registry {
  std::vector<net::HostPattern> allowed_hosts;
  std::optional<Lockfile> lockfile;
};

// Names a credential that the host holds; the value never stands in a policy.
struct Secret {
  std::string id;
  std::vector<net::HostPattern> allowed_hosts;
  std::string header = "Authorization";
  std::optional<int> ttl_seconds;
};

struct HttpsRoute {
  uint16_t port = 0;
  std::vector<std::string> hosts;  // names that may hold "{sandbox_id}"
};

struct HttpsExposure {
  std::string base = "{sandbox_id}.cleanroom.localhost";
  std::vector<HttpsRoute> routes;
};

struct Policy {
  ImageRef image;  // pinned
  std::optional<Repository> repository;
  Resources resources;
  int ttl_minutes = 60;
  bool docker_required = false;
  Network network;
  std::vector<Block> dependencies;
  std::vector<Block> services;
  std::string run_before;  // a shell command, or empty
  std::map<Ecosystem, Registry> registries;
  std::vector<Secret> secrets;
  std::optional<HttpsExposure> expose_https;
  std::string metadata_json;  // a JSON object with sorted keys, or empty

  // The lines of the keys written, as "sandbox.docker".
  std::map<std::string, int> key_lines;
};

}  // namespace cleanroom::policy
