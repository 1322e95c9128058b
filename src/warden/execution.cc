#include "warden/execution.h"

#include <fmt/format.h>

#include <csignal>
#include <utility>

#include "cleanroom/internal/v1/guest.rpc.h"
#include "warden_link/ending.h"

namespace cleanroom::warden {
namespace {

constexpr int kExitTimedOut = 124;
constexpr int kSignalExit = 128;  // plus the signal

pb::AttachEvent ToEvent(warden_link::Frame frame) {
  pb::AttachEvent event;
  event.set_offset(frame.next_offset);
  event.set_time_us(frame.time_us);
  switch (frame.kind) {
    case warden_link::FrameKind::kStdout:
      event.set_stdout(std::move(frame.payload));
      break;
    case warden_link::FrameKind::kStderr:
      event.set_stderr(std::move(frame.payload));
      break;
    case warden_link::FrameKind::kEnd:
      event.mutable_end()->ParseFromString(frame.payload);
      break;
  }
  return event;
}

}  // namespace

Result<std::shared_ptr<Execution>> Execution::Create(asio::any_io_executor executor, std::string id,
                                                     const std::filesystem::path& record,
                                                     pb::ExecStart start, ExecutionLimits limits,
                                                     BeforeEnd before_end) {
  CR_TRY_ASSIGN(warden_link::SpoolWriter spool, warden_link::SpoolWriter::Create(record));
  start.set_execution_id(id);
  return std::shared_ptr<Execution>(new Execution(std::move(executor), std::move(id), record,
                                                  std::move(spool), std::move(start), limits,
                                                  std::move(before_end)));
}

Execution::Execution(asio::any_io_executor executor, std::string id, std::filesystem::path record,
                     warden_link::SpoolWriter spool, pb::ExecStart start, ExecutionLimits limits,
                     BeforeEnd before_end)
    : id_(std::move(id)),
      record_(std::move(record)),
      spool_(std::move(spool)),
      start_(std::move(start)),
      limits_(limits),
      before_end_(std::move(before_end)),
      changed_(std::move(executor)),
      stdin_closed_(!start_.stdin() && !start_.tty()) {}

Awaitable<void> Execution::Run(rpc::Channel& agent) {
  pb::ExecutionEnd end = co_await Drive(agent);
  RecordEnd(std::move(end));
}

Awaitable<pb::ExecutionEnd> Execution::Drive(rpc::Channel& agent) {
  auto opened = co_await pb::GuestStub(agent).Exec();
  if (!opened)
    co_return warden_link::LostCommand(
        std::move(opened).error().Context("handing the command to the guest"));
  Stream stream = *std::move(opened);
  stream_ = &stream;
  const auto executor = co_await asio::this_coro::executor;
  TaskScope side(executor);
  pb::ExecutionEnd end = co_await Converse(agent, stream, side);
  stream_ = nullptr;
  side.Cancel();
  co_await side.Join();
  co_return end;
}

Awaitable<pb::ExecutionEnd> Execution::Converse(rpc::Channel& agent, Stream& stream,
                                                TaskScope& side) {
  side.Spawn(WatchStart());
  pb::ExecInput first;
  *first.mutable_start() = start_;
  auto sent = co_await stream.Write(first);
  if (!sent && ended_here_) co_return *ended_here_;
  if (!sent)
    co_return warden_link::LostCommand(
        std::move(sent).error().Context("handing the command to the guest"));
  side.Spawn(PumpInput(stream));
  if (limits_.timeout.count() > 0) side.Spawn(WatchTimeout(agent, stream));
  pb::ExecutionEnd end = co_await Collect(stream);
  co_return end;
}

Awaitable<void> Execution::WatchStart() {
  auto slept = co_await SleepFor(limits_.start);
  if (!slept || heard_) co_return;
  GiveUp(Error(ErrorCode::kDeadlineExceeded,
               fmt::format("the guest did not take the command within {:g} s",
                           std::chrono::duration<double>(limits_.start).count())));
}

void Execution::GiveUp(const Error& why) { EndHere(warden_link::LostCommand(why)); }

void Execution::EndHere(pb::ExecutionEnd end) {
  if (ended_ || ended_here_ || stream_ == nullptr) return;
  ended_here_ = std::move(end);
  stream_->Cancel();
}

// Records output until the exit. Whatever the guest does wrong ends the command, not the warden.
Awaitable<pb::ExecutionEnd> Execution::Collect(Stream& stream) {
  using warden_link::LostCommand;
  while (true) {
    auto next = co_await stream.Next();
    if (next) heard_ = true;
    // The warden names the way of every end; the guest's words only fill it.
    pb::ExecutionEnd end;
    if (timed_out_ && (!next || !*next || (*next)->has_exit())) {
      end.set_cause(pb::ExecutionEnd::CAUSE_TIMED_OUT);
      end.set_exit_code(kExitTimedOut);
      end.set_message(fmt::format("the command was ended after its timeout of {} s",
                                  static_cast<double>(limits_.timeout.count()) / 1000));
      co_return end;
    }
    if (!next && ended_here_) co_return *ended_here_;
    if (!next)
      co_return warden_link::LostCommand(
          std::move(next).error().Context("the connection to the guest was lost"));
    if (!*next)
      co_return warden_link::LostCommand(
          Error(ErrorCode::kUnavailable, "the guest ended the command without an exit code"));
    const pb::ExecOutput& output = **next;

    Result<void> recorded;
    if (output.has_stdout()) {
      recorded = spool_.Append(warden_link::FrameKind::kStdout, output.stdout());
    } else if (output.has_stderr()) {
      recorded = spool_.Append(warden_link::FrameKind::kStderr, output.stderr());
    } else if (output.has_exit()) {
      end.set_cause(signaled_ && output.exit().signal() != 0 ? pb::ExecutionEnd::CAUSE_CANCELED
                                                             : pb::ExecutionEnd::CAUSE_EXITED);
      end.set_exit_code(output.exit().exit_code());
      end.set_signal(output.exit().signal());
      end.set_message(output.exit().message().substr(0, 4096));
      co_return end;
    }
    if (!recorded) {
      stream.Cancel();
      co_return warden_link::LostCommand(recorded.error());
    }
    changed_.NotifyAll();
  }
}

Awaitable<void> Execution::PumpInput(Stream& stream) {
  while (true) {
    while (inputs_.empty()) {
      co_await changed_.Wait();
      const bool cancelled = co_await Cancelled();
      if (cancelled) co_return;
    }
    pb::ExecInput input = std::move(inputs_.front());
    inputs_.pop_front();
    const size_t bytes = input.stdin().size();
    auto sent = co_await stream.Write(input);
    queued_bytes_ -= bytes;
    changed_.NotifyAll();
    if (!sent) co_return;  // Collect says why
  }
}

Awaitable<void> Execution::WatchTimeout(rpc::Channel& agent, Stream& stream) {
  auto slept = co_await SleepFor(limits_.timeout);
  if (!slept) co_return;
  timed_out_ = true;
  pb::ExecInput terminate;
  terminate.set_signal(SIGTERM);
  auto asked = co_await Control(agent, std::move(terminate));
  (void)asked;  // the guest may be beyond listening; the cancellation below is not a request
  slept = co_await SleepFor(kTimeoutGrace);
  if (slept) stream.Cancel();
}

Awaitable<Result<void>> Execution::Control(rpc::Channel& agent, pb::ExecInput input) {
  pb::ControlRequest request;
  request.set_execution_id(id_);
  *request.mutable_input() = std::move(input);
  auto answer = co_await pb::GuestStub(agent).Control(
      std::move(request), {.deadline = std::chrono::steady_clock::now() + limits_.control});
  if (!answer && answer.error().code() == ErrorCode::kDeadlineExceeded) {
    co_return Err(ErrorCode::kDeadlineExceeded,
                  fmt::format("the guest did not take a signal or a size within {:g} s",
                              std::chrono::duration<double>(limits_.control).count()));
  }
  if (!answer) co_return Err(std::move(answer).error());
  co_return Result<void>();
}

Awaitable<Result<void>> Execution::Input(rpc::Channel& agent, pb::ExecInput input) {
  if (ended_) co_return Err(ErrorCode::kFailedPrecondition, "the command has ended");
  if (input.has_signal() || input.has_resize()) {
    if (input.has_signal()) signaled_ = true;
    const bool kill = input.has_signal() && input.signal() == SIGKILL;
    auto done = co_await Control(agent, std::move(input));
    if (done || !kill || done.error().code() != ErrorCode::kDeadlineExceeded) co_return done;
    pb::ExecutionEnd end;
    end.set_cause(pb::ExecutionEnd::CAUSE_CANCELED);
    end.set_exit_code(kSignalExit + SIGKILL);
    end.set_signal(SIGKILL);
    end.set_message("the guest does not answer; the command was given up");
    EndHere(std::move(end));
    co_return Result<void>();
  }
  if (input.has_start())
    co_return Err(ErrorCode::kInvalidArgument, "the command has been started already");
  while (queued_bytes_ > kMaxQueuedInput && !ended_ && !stdin_closed_) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled)
      co_return Err(ErrorCode::kCanceled, "cancelled while the command's input was full");
  }
  if (ended_) co_return Err(ErrorCode::kFailedPrecondition, "the command has ended");
  if (stdin_closed_) co_return Err(ErrorCode::kFailedPrecondition, "the command's stdin is closed");
  // Only now: who goes away while it waits has closed nothing.
  stdin_closed_ = input.close_stdin();
  queued_bytes_ += input.stdin().size();
  inputs_.push_back(std::move(input));
  changed_.NotifyAll();
  co_return Result<void>();
}

Awaitable<Result<void>> Execution::Follow(int64_t offset, bool follow,
                                          rpc::Writer<pb::AttachEvent>& out) {
  while (offset == warden_link::kOnlyTheEnd && follow && !ended_) {
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
  }
  if (offset == warden_link::kOnlyTheEnd) offset = ended_ ? end_offset_ : spool_.size();
  auto reader =
      warden_link::SpoolReader::Open(record_, offset == 0 ? warden_link::kSpoolStart : offset);
  if (!reader) co_return Err(std::move(reader).error());
  while (true) {
    auto frame = reader->Next();
    if (!frame) co_return Err(std::move(frame).error());
    if (*frame) {
      const bool last = (*frame)->kind == warden_link::FrameKind::kEnd;
      const pb::AttachEvent event = ToEvent(**std::move(frame));
      auto written = co_await out.Write(event);
      if (!written) co_return written;
      if (last) co_return Result<void>();
      continue;
    }
    if (!follow || ended_) co_return Result<void>();
    co_await changed_.Wait();
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "no longer followed");
  }
}

void Execution::RecordEnd(pb::ExecutionEnd end) {
  if (before_end_) before_end_(end);
  // Should even this small frame not fit on the disk, followers see a record without an end and
  // `ended_`.
  end_offset_ = spool_.size();
  auto recorded = spool_.Append(warden_link::FrameKind::kEnd, end.SerializeAsString());
  (void)recorded;
  ended_ = true;
  // It is kept for its followers, as one of many.
  spool_.Close();
  start_.Clear();
  inputs_.clear();
  changed_.NotifyAll();
}

}  // namespace cleanroom::warden
