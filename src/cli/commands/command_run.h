// CommandRun: one command in a sandbox, from creating the sandbox to the exit code. What exec and
// console are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "cli/output/progress.h"
#include "client/api.h"

namespace cleanroom::cli {

enum class StdinMode { kForward, kNone };
// What happens to the sandbox when the command has ended, however it ended.
enum class Afterwards { kLeave, kRemove };

// What is done with a sandbox beside its command. Named coroutines only, with values.
using SandboxStep =
    std::function<Awaitable<Result<void>>(client::Api& api, std::string sandbox_id)>;

struct RunRequest {
  // Nothing: made from `create`.
  std::optional<std::string> sandbox_id;
  v1::CreateSandboxRequest create;
  Afterwards afterwards = Afterwards::kLeave;
  enum class PrintId { kNo, kYes } print_id = PrintId::kNo;
  ProgressStyle progress = ProgressStyle::kNone;
  // What the network refused the command, on standard error at its end.
  enum class Refusals { kShow, kHide } refusals = Refusals::kShow;

  // Which commit the sandbox has, and warnings of its making, on standard error.
  enum class Notes { kShow, kHide } notes = Notes::kShow;

  // Before the command, of a sandbox that was just made (`made`) or of any (`before`); a failure of
  // theirs is the run's. `after` comes when the command has exited, whatever its code; when that
  // fails the sandbox is kept.
  std::function<Result<void>(const v1::Sandbox& sandbox)> made{};
  SandboxStep before{};
  SandboxStep after{};

  // Without the sandbox's id, which is filled in. options.tty decides about raw mode.
  v1::CreateExecutionRequest execution;
  StdinMode stdin_mode = StdinMode::kForward;
};

struct CreatedSandbox {
  v1::Sandbox sandbox;
  std::vector<std::string> warnings;
};
// Creates the sandbox, showing progress. Cancelling the task removes it again, unless it had been
// made already. `id` is set as soon as the daemon has told it, whatever comes of it.
Awaitable<Result<CreatedSandbox>> CreateSandbox(client::Api& api, v1::CreateSandboxRequest request,
                                                Progress& progress, std::string& id);
// On standard error: its warnings, and "commit=ID" where it has a repository, so that the same can
// be had again.
void PrintNotes(const CreatedSandbox& created);

// Runs to the end and returns the program's exit code: the command's own, 128 + signal, 124, 130
// after an interrupt (128 + signal after another), 141 when standard output's reader is gone.
// Returns an error for failures of ours; the sandbox has then been removed if `afterwards` says so.
Awaitable<Result<int>> RunCommand(client::Api& api, RunRequest request);

}  // namespace cleanroom::cli
