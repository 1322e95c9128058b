// exec, console and create: the repo-aware commands.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <utility>

#include "base/id.h"
#include "cli/commands/checkout_source.h"
#include "cli/commands/command_run.h"
#include "cli/commands/policy_source.h"
#include "cli/commands/run_flags.h"
#include "cli/commands/sandbox_create.h"
#include "cli/commands/workspace_copy_in.h"
#include "cli/commands/workspace_copy_out.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kExec = {
    "exec",
    "Run a command in a sandbox\n\n"
    "Makes a sandbox under the policy of cleanroom.yaml (here, or at the top of the repository), "
    "or of --image, and runs the\n"
    "command in it. In a git work tree the sandbox has the repository in /workspace, checked out "
    "at "
    "HEAD, which the\n"
    "daemon fetches from the remote; --repo-url takes another repository. What is not committed "
    "stays here, unless\n"
    "--copy-in takes it along; --copy-out brings what the command changed back to the work tree.\n"
    "Standard input, output and error pass through unchanged, and so does the exit "
    "code: the\n"
    "command's own, 128 + signal, 124 after --timeout, 130 after an interrupt, 1 for an error of "
    "Cleanroom.\n"
    "The sandbox stays for the next command (--in) until it has been idle for its time to live; "
    "see --rm and --keep.\n"
    "What the command was refused of the network is told on standard error when it has ended, "
    "unless --quiet.\n"
    "The first Ctrl-C cancels the command, which ends within seconds; the second does not wait for "
    "that.",
    "cleanroom exec -- uname -a\n"
    "cleanroom exec --rm --image docker.io/library/alpine:latest -- uname -a\n"
    "cleanroom exec --in 01kr7p9ksmfa7rmyypyqw2w8r0 -e CI -- make check\n"
    "cleanroom exec --sync -- make format\n"
    "cleanroom exec --repo-url https://git.example.com/tool.git --repo-commit v1.2 -- make\n"
    "tar c src | cleanroom exec --rm -- tar x -C /tmp"};

constexpr CommandHelp kConsole = {
    "console",
    "Open an interactive terminal in a sandbox (sh, or the command given)\n\n"
    "Like exec, with a terminal of the command's own that follows the size of yours.",
    "cleanroom console\n"
    "cleanroom console -- bash\n"
    "cleanroom console --in 01kr7p9ksmfa7rmyypyqw2w8r0"};

constexpr CommandHelp kCreate = {
    "create", "Make a sandbox for this repository and print its id",
    "cleanroom create\n"
    "id=$(cleanroom create --keep) && cleanroom exec --in \"$id\" -- uname -a"};

Result<std::vector<std::string>> Environment(const RunFlags& flags, bool tty) {
  std::vector<std::string> out;
  bool has_term = false;
  for (const std::string& text : flags.env) {
    CR_TRY_ASSIGN(const auto variable, ParseEnv(text));
    if (!variable) continue;
    has_term = has_term || variable->starts_with("TERM=");
    out.push_back(*variable);
  }
  const char* term = std::getenv("TERM");
  if (tty && !has_term && term != nullptr && *term != '\0')
    out.push_back(std::string("TERM=") + term);
  return out;
}

// What CI and agents give a command that is to read nothing. It has such a device in its sandbox,
// so nothing need be passed on.
bool StdinIsNull() {
  struct stat info = {};
  return fstat(STDIN_FILENO, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
}

// The execution that the flags describe, without its sandbox.
Result<v1::CreateExecutionRequest> ExecutionFor(const RunFlags& flags, RunKind kind,
                                                std::vector<std::string> command) {
  v1::CreateExecutionRequest request;
  for (std::string& word : command) request.add_command(std::move(word));
  request.set_kind(kind == RunKind::kConsole ? v1::EXECUTION_KIND_INTERACTIVE
                                             : v1::EXECUTION_KIND_BATCH);
  v1::ExecutionOptions& options = *request.mutable_options();
  const bool tty = flags.tty || kind == RunKind::kConsole;
  CR_TRY_ASSIGN(auto env, Environment(flags, tty));
  for (std::string& variable : env) options.add_env(std::move(variable));
  options.set_tty(tty);
  options.set_stdin(!flags.no_stdin && (tty || !StdinIsNull()));
  options.set_workdir(flags.workdir);
  options.set_user(flags.user);
  options.set_launch_seconds(flags.launch_seconds);
  if (!flags.timeout.empty()) {
    CR_TRY_ASSIGN(const auto timeout, ParseDuration(flags.timeout));
    options.set_timeout_seconds(timeout.count());
  }
  return request;
}

Awaitable<Result<int>> RunWith(client::Api& api, RunRequest run, PolicySource source) {
  if (!run.sandbox_id && !source.of_commit) {
    auto policy = co_await FinishPolicy(api, std::move(source));
    if (!policy) co_return Err(std::move(policy).error());
    *run.create.mutable_policy() = std::move(*policy);
  }
  auto code = co_await RunCommand(api, std::move(run));
  co_return code;
}

// Copies between a running sandbox and the work tree that this command was started in.
Awaitable<Result<void>> CopyInStep(client::Api& api, std::string sandbox_id) {
  auto copied = co_await CopyIn(api, std::move(sandbox_id), {});
  if (!copied) co_return Err(std::move(copied).error());
  co_return Result<void>();
}

Awaitable<Result<void>> CopyOutStep(client::Api& api, std::string sandbox_id) {
  auto copied = co_await CopyOut(api, std::move(sandbox_id), {});
  if (!copied) co_return Err(std::move(copied).error());
  co_return Result<void>();
}

Result<void> ChangeDirectory(const std::string& directory) {
  if (directory.empty() || chdir(directory.c_str()) == 0) return {};
  return ErrErrno(ErrorCode::kInvalidArgument, "-C " + directory);
}

int Exec(const Invocation& invocation, const RunFlags& flags, RunKind kind) {
  const std::string name = kind == RunKind::kExec ? "cleanroom exec" : "cleanroom console";
  std::vector<std::string> command = invocation.command.value_or(std::vector<std::string>{});
  if (command.empty() && kind == RunKind::kConsole) command = {"sh"};
  if (command.empty()) {
    return Fail(UsageError(
        "there is no command to run; it goes after '--', as in: cleanroom exec -- uname -a", name));
  }
  if (auto checked = CheckRunFlags(flags, kind); !checked) return Fail(invocation, checked.error());
  if (kind == RunKind::kConsole && isatty(STDIN_FILENO) != 1) {
    return Fail(
        Error(ErrorCode::kFailedPrecondition,
              "standard input is no terminal; for input from a pipe or file use: cleanroom exec")
            .Remedy("Run it from a terminal, or use: cleanroom exec -- CMD"));
  }
  RunRequest run;
  run.afterwards = flags.rm ? Afterwards::kRemove : Afterwards::kLeave;
  run.print_id = flags.print_sandbox_id ? RunRequest::PrintId::kYes : RunRequest::PrintId::kNo;
  run.progress = ChooseProgress(invocation, flags.quiet ? Quiet::kYes : Quiet::kNo);
  if (flags.quiet) run.notes = RunRequest::Notes::kHide;
  // In a terminal's session the program itself shows what it was refused.
  if (flags.quiet || kind == RunKind::kConsole) run.refusals = RunRequest::Refusals::kHide;
  auto execution = ExecutionFor(flags, kind, std::move(command));
  if (!execution) return Fail(invocation, execution.error());
  run.execution = std::move(*execution);
  run.stdin_mode = run.execution.options().stdin() ? StdinMode::kForward : StdinMode::kNone;

  PolicySource source;
  if (!flags.sandbox_id.empty()) {
    if (auto id = CheckId(flags.sandbox_id, "sandbox id"); !id) return Fail(invocation, id.error());
    if (auto moved = ChangeDirectory(flags.chdir); !moved) return Fail(invocation, moved.error());
    run.sandbox_id = flags.sandbox_id;
  } else {
    if (auto moved = ChangeDirectory(flags.chdir); !moved) return Fail(invocation, moved.error());
    auto found = LocateCheckout(flags, DefaultImage);
    if (!found) return Fail(invocation, found.error());
    WarnAbout(invocation, *found);
    WarnAboutAllowAll(invocation, flags);
    run.create = CreateRequestFor(flags);
    if (auto added = AddCheckout(*found, run.create); !added) {
      return Fail(invocation, added.error());
    }
    if (found->work_tree) run.made = Binder(*found);
    source = std::move(found->policy);
  }
  if (run.sandbox_id && flags.CopiesIn()) run.before = CopyInStep;
  if (flags.CopiesOut()) run.after = CopyOutStep;
  return RunConnected(invocation, [&](client::Api& api) {
    return RunWith(api, std::move(run), std::move(source));
  });
}

int Create(const Invocation& invocation, const RunFlags& flags) {
  if (auto checked = CheckRunFlags(flags, RunKind::kCreate); !checked)
    return Fail(invocation, checked.error());
  if (auto moved = ChangeDirectory(flags.chdir); !moved) return Fail(invocation, moved.error());
  auto source = LocateCheckout(flags, DefaultImage);
  if (!source) return Fail(invocation, source.error());
  return CreateAndPrint(invocation, flags, std::move(*source));
}

}  // namespace

void AddExecCommands(CLI::App& root, Invocation& invocation) {
  const std::pair<const CommandHelp*, RunKind> commands[] = {
      {&kExec, RunKind::kExec}, {&kConsole, RunKind::kConsole}, {&kCreate, RunKind::kCreate}};
  for (const auto& [help, kind] : commands) {
    CLI::App* command = AddCommand(root, *help);
    const auto flags = std::make_shared<RunFlags>();
    AddRunFlags(*command, kind, *flags);
    command->callback([&invocation, flags, kind = kind] {
      invocation.run = [&invocation, flags, kind] {
        return kind == RunKind::kCreate ? Create(invocation, *flags)
                                        : Exec(invocation, *flags, kind);
      };
    });
  }
}

}  // namespace cleanroom::cli
