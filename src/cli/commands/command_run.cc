#include "cli/commands/command_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "cli/commands/network.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/terminal/stdio.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/terminal_session.h"
#include "client/attachment.h"

namespace cleanroom::cli {
namespace {

// Of standard input in one message.
constexpr size_t kInputChunk = 64U << 10;
constexpr int kExitTimedOut = 124;
constexpr int kExitBrokenPipe = 128 + SIGPIPE;

class CommandRun {
 public:
  CommandRun(client::Api& api, RunRequest request, asio::any_io_executor executor)
      : api_(api),
        request_(std::move(request)),
        executor_(executor),
        signals_(executor),
        stage_(executor),
        side_(executor),
        input_(executor),
        stdout_(executor, STDOUT_FILENO),
        stderr_(executor, STDERR_FILENO) {}

  Awaitable<Result<int>> Run();

 private:
  // Stages run one after another as tasks of stage_, so that an interrupt can end the one under
  // way.
  Awaitable<void> Create();
  Awaitable<void> Execute();
  Awaitable<void> Take(SandboxStep step);
  Awaitable<void> Remove();
  Awaitable<Result<void>> Stream(client::Attachment& attachment);
  Awaitable<Result<bool>> Handle(const v1::ExecutionStreamEvent& event);

  // Side tasks, that go on while stages run.
  Awaitable<void> WatchSignals();
  Awaitable<void> ForwardInput(client::Attachment& attachment);
  Awaitable<void> SendSize(client::Attachment& attachment);
  Awaitable<void> CancelExecution();
  Awaitable<void> HangUp();

  void OnInterrupt(int signal);
  void Say(const std::string& text);

  client::Api& api_;
  RunRequest request_;
  asio::any_io_executor executor_;
  asio::signal_set signals_;
  TaskScope stage_;
  TaskScope side_;
  TaskScope input_;  // what writes to the attachment
  Output stdout_;
  Output stderr_;

  enum class Phase { kCreating, kStarting, kRunning, kRemoving } phase_ = Phase::kCreating;
  std::string sandbox_id_;
  std::string execution_id_;
  bool made_here_ = false;
  std::optional<TerminalSession> terminal_;
  TerminalSize size_;                         // as the command was told
  client::Attachment* attachment_ = nullptr;  // while running

  int interrupts_ = 0;
  int interrupt_signal_ = 0;  // the first one
  bool detached_ = false;
  bool cancelling_ = false;  // the daemon has said that it does
  std::optional<int> exit_code_;
  std::optional<Error> error_;
};

Awaitable<Result<int>> CommandRun::Run() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT})
    signals_.add(signal);
  side_.Spawn(WatchSignals());

  if (request_.sandbox_id) {
    sandbox_id_ = *request_.sandbox_id;
  } else {
    stage_.Spawn(Create());
    co_await stage_.Join();
  }
  if (!sandbox_id_.empty() && interrupts_ == 0 && !error_) {
    if (request_.print_id == RunRequest::PrintId::kYes) Say("sandbox_id=" + sandbox_id_);
    phase_ = Phase::kStarting;
    if (request_.before) {
      stage_.Spawn(Take(request_.before));
      co_await stage_.Join();
    }
    if (!error_ && interrupts_ == 0) {
      stage_.Spawn(Execute());
      co_await stage_.Join();
    }
  }
  if (request_.after && exit_code_ && !error_ && !detached_) {
    phase_ = Phase::kStarting;
    stage_.Spawn(Take(request_.after));
    co_await stage_.Join();
    if (error_) {
      request_.afterwards = Afterwards::kLeave;
      Say(fmt::format(
          "cleanroom: sandbox {} is kept: try again with cleanroom workspace copy-out {}",
          sandbox_id_, sandbox_id_));
    }
  }
  // An interrupt that came as the sandbox became ready: nobody knows of it yet.
  const bool never_used = made_here_ && execution_id_.empty() && interrupts_ > 0;
  if (!sandbox_id_.empty() && (request_.afterwards == Afterwards::kRemove || never_used)) {
    phase_ = Phase::kRemoving;
    stage_.Spawn(Remove());
    co_await stage_.Join();
  }
  signals_.cancel();
  side_.Cancel();
  co_await side_.Join();

  if (interrupts_ > 0) co_return 128 + interrupt_signal_;
  if (exit_code_ && *exit_code_ != 0) {
    if (error_) Fail(*error_);
    co_return *exit_code_;
  }
  if (error_) co_return Err(std::move(*error_));
  co_return exit_code_.value_or(0);
}

Awaitable<void> CommandRun::Create() {
  Progress progress(executor_, request_.progress);
  progress.Start();
  std::string id;
  auto created = co_await CreateSandbox(api_, std::move(request_.create), progress, id);
  co_await progress.Finish();
  const bool made = created.has_value();
  if (made && request_.notes == RunRequest::Notes::kShow) PrintNotes(*created);
  if (made && request_.made) {
    auto noted = request_.made(created->sandbox);
    if (!noted) error_ = std::move(noted).error();
  }
  if (!made) error_ = std::move(created).error();
  // An interrupt may have come after the daemon had made it: then nobody else knows of it.
  if (made || interrupts_ > 0) {
    sandbox_id_ = id;
    made_here_ = true;
  }
}

Awaitable<void> CommandRun::Take(SandboxStep step) {
  auto taken = co_await step(api_, sandbox_id_);
  if (!taken) error_ = std::move(taken).error();
}

Awaitable<void> CommandRun::Execute() {
  v1::CreateExecutionRequest create = std::move(request_.execution);
  create.set_sandbox_id(sandbox_id_);
  const bool tty = create.options().tty();
  const bool on_terminal = tty && isatty(STDIN_FILENO) == 1;
  if (tty) {
    size_ = GetTerminalSize(STDIN_FILENO).value_or(TerminalSize{});
    create.mutable_options()->mutable_window()->set_rows(size_.rows);
    create.mutable_options()->mutable_window()->set_columns(size_.columns);
  }
  auto created = co_await api_.executions.CreateExecution(std::move(create));
  if (!created) {
    error_ = std::move(created).error();
    co_return;
  }
  execution_id_ = created->execution().execution_id();
  auto attachment = co_await client::Attachment::Open(api_.executions, sandbox_id_, execution_id_);
  if (!attachment) {
    error_ = std::move(attachment).error();
    co_return;
  }
  if (on_terminal) {
    auto begun = TerminalSession::Begin(STDIN_FILENO, STDOUT_FILENO);
    if (!begun) {
      error_ = std::move(begun).error();
      co_return;
    }
    terminal_.emplace(std::move(*begun));
  }
  phase_ = Phase::kRunning;
  attachment_ = attachment->get();
  // Interrupts that came before there was anything to cancel.
  if (interrupts_ > 0) side_.Spawn(CancelExecution());

  if (on_terminal) input_.Spawn(SendSize(**attachment));
  if (request_.stdin_mode == StdinMode::kForward) input_.Spawn(ForwardInput(**attachment));
  auto streamed = co_await Stream(**attachment);
  if (!streamed) error_ = std::move(streamed).error();
  attachment_ = nullptr;
  input_.Cancel();
  co_await input_.Join();
  terminal_.reset();
}

Awaitable<Result<void>> CommandRun::Stream(client::Attachment& attachment) {
  for (;;) {
    auto event = co_await attachment.Next();
    if (!event) {
      if (detached_) co_return Result<void>();
      co_return Err(std::move(event).error().Context(
          fmt::format("the output of execution {} was lost", execution_id_)));
    }
    if (!event->has_value()) {
      co_return Err(ErrorCode::kUnavailable,
                    fmt::format("the daemon ended the output of execution {} before its exit",
                                execution_id_));
    }
    auto last = co_await Handle(**event);
    if (!last) {
      if (detached_) co_return Result<void>();
      const int reason = last.error().errno_value();
      // A pipe's reader is gone, or a terminal.
      if (reason != EPIPE && reason != EIO) co_return Err(std::move(last).error());
      // Nobody reads any more. The command would get SIGPIPE here: it is ended, and so are we,
      // silently.
      co_await CancelExecution();
      exit_code_ = kExitBrokenPipe;
      co_return Result<void>();
    }
    if (*last) co_return Result<void>();
  }
}

// True for the last event.
Awaitable<Result<bool>> CommandRun::Handle(const v1::ExecutionStreamEvent& event) {
  if (event.has_stdout()) {
    if (terminal_) terminal_->Watch(event.stdout());
    auto written = co_await stdout_.Write(event.stdout());
    if (!written) co_return Err(std::move(written).error());
  } else if (event.has_stderr()) {
    auto written = co_await stderr_.Write(event.stderr());
    if (!written) co_return Err(std::move(written).error());
  } else if (event.has_exit()) {
    const v1::ExecutionExit& exit = event.exit();
    exit_code_ = exit.status() == v1::EXECUTION_STATUS_TIMED_OUT ? kExitTimedOut : exit.exit_code();
    // A command that could not run, or a sandbox that died, must not look like success.
    if (*exit_code_ == 0 && exit.status() != v1::EXECUTION_STATUS_SUCCEEDED) exit_code_ = 1;
    // A program that was lost, killed or never ran could not tidy up the screen.
    const bool orderly = exit.message().empty() && exit.exit_code() < 128;
    if (terminal_) terminal_->End(orderly ? SessionEnd::kOrderly : SessionEnd::kBroken);
    terminal_.reset();
    if (!exit.message().empty() && interrupts_ == 0) {
      Say("cleanroom: " + exit.message());
      if (exit.why().code() == ToString(ErrorCode::kUnavailable))
        Say("See how the sandbox ended with: cleanroom sandbox inspect " + sandbox_id_);
    }
    if (request_.refusals == RunRequest::Refusals::kShow) {
      const std::string refusals = DescribeRefusals(exit, sandbox_id_);
      if (!refusals.empty()) Say(refusals);
    }
    co_return true;
  }
  co_return false;
}

Awaitable<void> CommandRun::Remove() {
  v1::TerminateSandboxRequest request;
  request.set_sandbox_id(sandbox_id_);
  auto removed = co_await api_.sandboxes.TerminateSandbox(std::move(request));
  if (removed || (!removed && removed.error().code() == ErrorCode::kNotFound)) co_return;
  Say(fmt::format(
      "cleanroom: sandbox {} could not be removed; remove it with: cleanroom sandbox rm {}",
      sandbox_id_, sandbox_id_));
  if (!error_) error_ = std::move(removed).error();
}

Awaitable<void> CommandRun::WatchSignals() {
  for (;;) {
    auto [failed, signal] = co_await signals_.async_wait(kAwait);
    if (failed) co_return;
    switch (signal) {
      case SIGCONT:
        if (terminal_) terminal_->Reenter();
        [[fallthrough]];
      case SIGWINCH:
        if (attachment_ != nullptr && terminal_) input_.Spawn(SendSize(*attachment_));
        break;
      default:
        OnInterrupt(signal);
    }
  }
}

void CommandRun::OnInterrupt(int signal) {
  // A terminal that goes away may say so more than once, and nobody meant a second interrupt.
  if (signal == SIGHUP && interrupt_signal_ == SIGHUP) return;
  if (interrupts_++ == 0) interrupt_signal_ = signal;
  const bool removes = request_.afterwards == Afterwards::kRemove;
  switch (phase_) {
    case Phase::kCreating:
      stage_.Cancel();
      break;
    case Phase::kStarting:
      if (interrupts_ > 1) stage_.Cancel();
      break;
    case Phase::kRunning:
      if (interrupts_ == 1) {
        if (signal == SIGHUP) {
          side_.Spawn(HangUp());
          break;
        }
        side_.Spawn(CancelExecution());
        Say(removes ? "cleanroom: cancelling the command; press Ctrl-C again to remove the sandbox "
                      "at once"
                    : "cleanroom: cancelling the command; press Ctrl-C again to leave without "
                      "waiting for its end");
      } else {
        detached_ = true;
        terminal_.reset();
        if (!removes) {
          Say(fmt::format(
              "cleanroom: execution {} in sandbox {} {}; see what becomes of it with: "
              "cleanroom execution inspect {}",
              execution_id_, sandbox_id_,
              cancelling_ ? "is being cancelled"
                          : "goes on unless the daemon still reads that it is cancelled",
              execution_id_));
        }
        stage_.Cancel();
      }
      break;
    case Phase::kRemoving:
      if (interrupts_ > 2) stage_.Cancel();
      break;
  }
}

Awaitable<void> CommandRun::CancelExecution() {
  v1::CancelExecutionRequest request;
  request.set_sandbox_id(sandbox_id_);
  request.set_execution_id(execution_id_);
  // When it fails the stream says why, or a second interrupt detaches.
  auto cancelled = co_await api_.executions.CancelExecution(std::move(request));
  cancelling_ = cancelled.has_value();
}

// There is nobody left to wait for the command's end, nor to interrupt a second time.
Awaitable<void> CommandRun::HangUp() {
  co_await CancelExecution();
  detached_ = true;
  stage_.Cancel();
}

Awaitable<void> CommandRun::ForwardInput(client::Attachment& attachment) {
  Input input(executor_, STDIN_FILENO);
  std::string buffer;
  for (;;) {
    buffer.resize(kInputChunk);
    auto n = co_await input.Read(buffer);
    if (!n) co_return;
    if (*n == 0) break;
    buffer.resize(*n);
    auto sent = co_await attachment.WriteStdin(std::move(buffer));
    if (!sent) co_return;  // the call is over; the stream says why
    buffer.clear();
  }
  auto closed = co_await attachment.CloseStdin();
  (void)closed;
}

Awaitable<void> CommandRun::SendSize(client::Attachment& attachment) {
  const auto size = GetTerminalSize(STDIN_FILENO);
  if (!size || *size == size_) co_return;
  size_ = *size;
  auto sent = co_await attachment.Resize(size->rows, size->columns);
  (void)sent;
}

void CommandRun::Say(const std::string& text) {
  // The terminal may stand behind an echoed ^C or output without a newline.
  const bool fresh = interrupts_ > 0 && isatty(STDERR_FILENO) == 1;
  const std::string line =
      (fresh ? "\r\n" : "") + Printable(text, Newlines::kKeep) + (terminal_ ? "\r\n" : "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void PrintNotes(const CreatedSandbox& created) {
  for (const std::string& warning : created.warnings) PrintWarning(warning);
  if (!created.sandbox.has_repository_checkout()) return;
  const std::string line =
      "commit=" + Printable(created.sandbox.repository_checkout().commit_sha()) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

Awaitable<Result<CreatedSandbox>> CreateSandbox(client::Api& api, v1::CreateSandboxRequest request,
                                                Progress& progress, std::string& id) {
  auto stream = co_await api.sandboxes.CreateSandboxStream(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  CreatedSandbox created;
  for (;;) {
    auto event = co_await stream->Next();
    if (!event) co_return Err(std::move(event).error());
    // To the very end: leaving a call early cancels it, and that would remove the sandbox.
    if (!event->has_value()) break;
    if (!(*event)->sandbox_id().empty()) id = (*event)->sandbox_id();
    if ((*event)->has_progress()) progress.Update((*event)->progress());
    if ((*event)->has_warning()) created.warnings.push_back((*event)->warning());
    if ((*event)->has_created())
      created.sandbox = std::move(*(*event)->mutable_created()->mutable_sandbox());
  }
  if (created.sandbox.sandbox_id().empty()) {
    co_return Err(ErrorCode::kUnavailable, "the daemon stopped while it made the sandbox");
  }
  id = created.sandbox.sandbox_id();
  co_return created;
}

Awaitable<Result<int>> RunCommand(client::Api& api, RunRequest request) {
  const auto executor = co_await asio::this_coro::executor;
  CommandRun run(api, std::move(request), executor);
  auto code = co_await run.Run();
  co_return code;
}

}  // namespace cleanroom::cli
