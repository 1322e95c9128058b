#include "git/environment.h"

#include <fmt/format.h>

#include <array>

namespace cleanroom::git {
namespace {

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What a user's git, ssh and curl find their configuration and credentials by. Nothing of git's own
// (GIT_DIR, GIT_CONFIG_COUNT, ...), which would change what a run does.
constexpr std::array kInherited = {"PATH",
                                   "HOME",
                                   "USER",
                                   "LOGNAME",
                                   "XDG_CONFIG_HOME",
                                   "XDG_RUNTIME_DIR",
                                   "SSH_AUTH_SOCK",
                                   "SSL_CERT_FILE",
                                   "SSL_CERT_DIR",
                                   "GIT_SSL_CAINFO",
                                   "http_proxy",
                                   "https_proxy",
                                   "HTTPS_PROXY",
                                   "no_proxy",
                                   "NO_PROXY",
                                   "all_proxy",
                                   "ALL_PROXY",
                                   "DBUS_SESSION_BUS_ADDRESS"};

void AddConfig(std::vector<std::string>& out, const std::vector<std::string>& config) {
  for (const std::string& setting : config) {
    out.emplace_back("-c");
    out.push_back(setting);
  }
}

// Of both kinds: nothing of a repository's is run, and file names are checked for every system.
std::vector<std::string> Begin(const GitConfig& config, const Command& command) {
  std::vector<std::string> out = {config.program, "--no-pager", "--no-replace-objects"};
  AddConfig(out, {"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.protectNTFS=true",
                  "core.protectHFS=true", "core.alternateRefsCommand=true", "gc.auto=0",
                  "maintenance.auto=false", "advice.detachedHead=false"});
  if (!command.git_dir.empty()) out.push_back("--git-dir=" + command.git_dir.string());
  return out;
}

// The last one counts, as it would not for a program that finds a name twice.
void AddVariables(std::vector<std::string>& out, const std::vector<std::string>& variables) {
  for (const std::string& variable : variables) {
    const std::string name = variable.substr(0, variable.find('=') + 1);
    std::erase_if(out, [&](const std::string& other) { return other.starts_with(name); });
    out.push_back(variable);
  }
}

std::string Protocols(const UrlRules& rules) {
  std::string out = "https:ssh";
  if (rules.http == PlainHttp::kAllowed) out += ":http";
  if (rules.paths == LocalPaths::kAllowed) out += ":file";
  return out;
}

}  // namespace

std::vector<std::string> LocalArguments(const GitConfig& config, const Command& command) {
  std::vector<std::string> out = Begin(config, command);
  AddConfig(out,
            {"core.attributesFile=/dev/null", "core.excludesFile=/dev/null", "core.autocrlf=false",
             "core.quotePath=false", "protocol.allow=never", "credential.helper="});
  AddConfig(out, command.config);
  out.insert(out.end(), command.args.begin(), command.args.end());
  return out;
}

std::vector<std::string> LocalEnvironment(const Command& command) {
  std::vector<std::string> out = {
      kPath, "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC", "GIT_CONFIG_NOSYSTEM=1",
      "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
      "GIT_ASKPASS=", "GIT_ALLOW_PROTOCOL=", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
      "GIT_OPTIONAL_LOCKS=0",
      // For commands that want one (hash-object writes no object with it).
      "GIT_AUTHOR_NAME=cleanroom", "GIT_AUTHOR_EMAIL=cleanroom@localhost",
      "GIT_COMMITTER_NAME=cleanroom", "GIT_COMMITTER_EMAIL=cleanroom@localhost"};
  AddVariables(out, command.environment);
  return out;
}

std::vector<std::string> UpstreamArguments(const GitConfig& config, const Command& command) {
  std::vector<std::string> out = Begin(config, command);
  AddConfig(out, {"http.followRedirects=false",  // remote.cc decides where one may lead
                  fmt::format("http.lowSpeedLimit={}", config.low_speed_bytes),
                  fmt::format("http.lowSpeedTime={}", config.low_speed_time.count()),
                  // A pack stays a pack: no loose objects in a mirror.
                  "fetch.unpackLimit=1", "transfer.unpackLimit=1", "fetch.recurseSubmodules=false",
                  "submodule.recurse=false", "fetch.writeCommitGraph=false",
                  "transfer.credentialsInUrl=die", "core.askPass=", "uploadpack.packObjectsHook="});
  AddConfig(out, config.config);
  AddConfig(out, command.config);
  out.insert(out.end(), command.args.begin(), command.args.end());
  return out;
}

std::vector<std::string> UpstreamEnvironment(const GitConfig& config, const Command& command,
                                             const LookUp& look_up) {
  std::vector<std::string> out;
  for (const char* name : kInherited) {
    if (const char* value = look_up(name); value != nullptr)
      out.push_back(fmt::format("{}={}", name, value));
  }
  if (look_up("PATH") == nullptr) out.emplace_back(kPath);
  const std::vector<std::string> ours = {"LC_ALL=C",
                                         "GIT_TERMINAL_PROMPT=0",
                                         "GIT_ASKPASS=",
                                         "SSH_ASKPASS=",
                                         "SSH_ASKPASS_REQUIRE=never",
                                         "GIT_SSH_VARIANT=ssh",
                                         "GIT_SSH_COMMAND=" + config.ssh_command,
                                         "GIT_ALLOW_PROTOCOL=" + Protocols(config.rules),
                                         "GIT_PROTOCOL_FROM_USER=0",
                                         "GIT_NO_REPLACE_OBJECTS=1",
                                         "GIT_NO_LAZY_FETCH=1",
                                         "GCM_INTERACTIVE=never"};
  AddVariables(out, ours);
  AddVariables(out, config.environment);
  AddVariables(out, command.environment);
  return out;
}

}  // namespace cleanroom::git
