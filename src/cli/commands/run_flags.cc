#include "cli/commands/run_flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string_view>

#include "cli/session/errors.h"

namespace cleanroom::cli {
namespace {

struct Given {
  std::string_view flag;
  bool given;
};

std::string_view CommandOf(RunKind kind) {
  switch (kind) {
    case RunKind::kExec:
      return "cleanroom exec";
    case RunKind::kConsole:
      return "cleanroom console";
    case RunKind::kCreate:
      return "cleanroom create";
    case RunKind::kSandboxCreate:
      return "cleanroom sandbox create";
  }
  return "cleanroom";
}

Result<void> CheckPairs(const RunFlags& flags, RunKind kind) {
  const Given in{"--in", !flags.sandbox_id.empty()};
  const Given from{"--from", !flags.from.empty()};
  const Given image{"--image", !flags.image.empty()};
  const Given keep{"--keep", flags.keep};
  const Given rm{"--rm", flags.rm};
  const Given repo_url{"--repo-url", !flags.repo_url.empty()};
  const Given repo_commit{"--repo-commit", !flags.repo_commit.empty()};
  const Given copy_in{"--copy-in", flags.copy_in};
  const Given copy_out{"--copy-out", flags.copy_out};
  const Given sync{"--sync", flags.sync};
  const Given tty{"--tty", flags.tty};
  const Given no_stdin{"--no-stdin", flags.no_stdin};
  const Given policy{"-c", !flags.policy_file.empty()};
  const Given backend{"--backend", !flags.backend.empty()};
  const Given allow_all{"--dangerously-allow-all", flags.dangerously_allow_all};
  // With --in, no local folder matters, unless files come from there or go there.
  const bool copies = flags.copy_in || flags.copy_out || flags.sync;
  const Given chdir{"--chdir", !flags.chdir.empty() && !copies};
  // A running sandbox has its image, policy, backend and life already. What is copied belongs to the
  // commit that the work tree is at, and to no other.
  const std::pair<Given, Given> pairs[] = {
      {in, from},
      {in, image},
      {in, keep},
      {in, repo_url},
      {in, repo_commit},
      {in, policy},
      {in, backend},
      {in, allow_all},
      {copy_in, repo_url},
      {copy_out, repo_url},
      {sync, repo_url},
      {tty, no_stdin},
      {rm, keep},
      {from, image},
      {in, chdir},
      {copy_in, repo_commit},
      {copy_out, repo_commit},
      {sync, repo_commit},
  };
  for (const auto& [a, b] : pairs) {
    if (a.given && b.given) {
      return Err(UsageError(fmt::format("{} and {} contradict each other", a.flag, b.flag),
                            std::string(CommandOf(kind))));
    }
  }
  return {};
}

Result<void> CheckEnforceable(const RunFlags& flags) {
  const Given unsupported[] = {
      {"--from", !flags.from.empty()},
      {"--expose", !flags.expose.empty()},
      {"--expose-https", !flags.expose_https.empty()},
      {"--docker", flags.docker},
  };
  for (const Given& flag : unsupported) {
    if (flag.given) {
      return Err(ErrorCode::kBackendCapabilityMismatch,
                 fmt::format("{} asks for what no backend of this version can do", flag.flag));
    }
  }
  return {};
}

// One value each time it is given, so that it never swallows what follows.
void AddList(CLI::App& command, const char* name, std::vector<std::string>& into, const char* text,
             const char* help) {
  command.add_option(name, into, help)->option_text(text)->allow_extra_args(false)->take_all();
}

}  // namespace

void AddRunFlags(CLI::App& command, RunKind kind, RunFlags& flags) {
  const bool runs = kind == RunKind::kExec || kind == RunKind::kConsole;
  const bool repo_aware = kind != RunKind::kSandboxCreate;

  if (repo_aware) {
    command
        .add_option("-c,--policy", flags.policy_file,
                    "The policy file, instead of looking for cleanroom.yaml")
        ->option_text("FILE");
    command
        .add_option("-C,--chdir", flags.chdir, "Act as if started in this directory of the host")
        ->option_text("DIR");
  }
  command
      .add_option("--image", flags.image,
                  "The image, instead of the policy's; a tag is resolved to a digest")
      ->option_text("REF");
  command.add_option("--backend", flags.backend, "The backend, instead of the daemon's default")
      ->option_text("NAME");
  command
      .add_option("--launch-seconds", flags.launch_seconds,
                  "How long starting the sandbox may take")
      ->option_text("N")
      ->check(CLI::Range(int64_t{1}, int64_t{3600}).description(""));
  command.add_option("--from", flags.from, "Start from a snapshot")->option_text("SNAPSHOT");
  command.add_flag("--keep", flags.keep, "Keep the sandbox however long it is idle");
  command.add_flag("--dangerously-allow-all", flags.dangerously_allow_all,
                   "Let the sandbox reach every network");
  if (kind == RunKind::kSandboxCreate)
    command.add_flag("--docker", flags.docker, "Run Docker inside the sandbox");
  if (repo_aware) {
    command
        .add_option("--repo-url", flags.repo_url,
                    "Check this repository out instead of the local one")
        ->option_text("URL");
    command
        .add_option("--repo-commit", flags.repo_commit,
                    "The commit, tag or branch to check out; 'latest' is the remote's HEAD")
        ->option_text("COMMIT");
    command.add_flag(
        "--copy-in", flags.copy_in,
        "Copy local changes, and commits that were not pushed, into the sandbox first");
    command.add_flag("--copy-out", flags.copy_out, "Copy changes back afterwards");
    command.add_flag("--sync", flags.sync, "--copy-in and --copy-out");
    AddList(command, "--expose", flags.expose, "[HOSTPORT:]PORT",
            "Reach a port of the sandbox on the host's loopback");
    AddList(command, "--expose-https", flags.expose_https, "[NAME:]PORT",
            "Reach a port by an https name");
  }
  if (runs) {
    command
        .add_option("--in,--sandbox-id", flags.sandbox_id,
                    "Run in this sandbox instead of a new one")
        ->option_text("ID");
    command.add_flag("--rm", flags.rm,
                     "Remove the sandbox when the command has ended, however it ended");
    AddList(command, "-e,--env", flags.env, "KEY[=VALUE]",
            "Set a variable; without =VALUE pass ours on, if set");
    command
        .add_option("-w,--workdir", flags.workdir,
                    "The command's directory in the sandbox (absolute)")
        ->option_text("DIR");
    command
        .add_option("-u,--user", flags.user,
                    "The command's user in the sandbox: NAME, UID or UID:GID")
        ->option_text("USER");
    command
        .add_option("--timeout", flags.timeout,
                    "End the command after this time (90, 30s, 5m, 1h); exit code 124")
        ->option_text("TIME");
    command.add_flag("--print-sandbox-id", flags.print_sandbox_id,
                     "Write sandbox_id=ID to standard error");
  }
  if (kind == RunKind::kExec) {
    command.add_flag("-t,--tty", flags.tty, "Give the command a terminal");
    command.add_flag("-n,--no-stdin", flags.no_stdin,
                     "Do not pass standard input on; the command reads end of file");
  }
  command.add_flag("-q,--quiet", flags.quiet,
                   runs ? "Show no progress and no refusals" : "Show no progress");
}

Result<void> CheckRunFlags(const RunFlags& flags, RunKind kind) {
  CR_TRY(CheckPairs(flags, kind));
  CR_TRY(CheckEnforceable(flags));
  if (!flags.workdir.empty() && !flags.workdir.starts_with('/')) {
    return Err(UsageError(fmt::format("--workdir must be absolute, not '{}'", flags.workdir),
                          std::string(CommandOf(kind))));
  }
  return {};
}

}  // namespace cleanroom::cli
