// One command in the guest, from the warden's side: hands it over, records all its output
// (spool.h), carries input, and serves any number of followers from the record.
//
// Lives on the warden's one thread. Shared between its running task and the calls that follow it.
#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/client.h"
#include "rpc/service.h"
#include "warden_link/spool.h"

namespace cleanroom::warden {

namespace pb = ::cleanroom::internal::v1;

// How long a command has between the TERM of its timeout and the KILL.
inline constexpr std::chrono::seconds kTimeoutGrace{2};
// Input that waits for the guest to read it, in bytes; more makes the sender wait.
inline constexpr size_t kMaxQueuedInput = 1U << 20;

struct ExecutionLimits {
  std::chrono::milliseconds timeout{0};     // of the command; 0: none
  std::chrono::milliseconds start{30'000};  // for the guest to take it
  std::chrono::milliseconds control{5000};  // for the guest to take a signal or a window's size
};

class Execution {
 public:
  // Called with the end before it is recorded, to add to it.
  using BeforeEnd = std::function<void(pb::ExecutionEnd&)>;

  // Makes the record.
  static Result<std::shared_ptr<Execution>> Create(asio::any_io_executor executor, std::string id,
                                                   const std::filesystem::path& record,
                                                   pb::ExecStart start, ExecutionLimits limits,
                                                   BeforeEnd before_end = {});

  // Runs the command through the agent to its end; the end is on record when this returns.
  // Cancelling the task kills the command. Called once.
  Awaitable<void> Run(rpc::Channel& agent);

  // Passes one input on. Waits while too much waits already; kFailedPrecondition after the end, or
  // after close_stdin. A guest that does not take SIGKILL in time is not waited for: the command
  // ends here.
  Awaitable<Result<void>> Input(rpc::Channel& agent, pb::ExecInput input);

  // Ends the command here, lost for this reason, whatever the guest does: it learns of that when it
  // listens again.
  void GiveUp(const Error& why);

  // Replays from `offset` (0: from the beginning; kOnlyTheEnd: no output); with `follow` goes on
  // until the end is on record.
  Awaitable<Result<void>> Follow(int64_t offset, bool follow, rpc::Writer<pb::AttachEvent>& out);

  const std::string& id() const { return id_; }
  bool ended() const { return ended_; }

 private:
  using Stream = rpc::ClientStream<pb::ExecInput, pb::ExecOutput>;

  Execution(asio::any_io_executor executor, std::string id, std::filesystem::path record,
            warden_link::SpoolWriter spool, pb::ExecStart start, ExecutionLimits limits,
            BeforeEnd before_end);
  Awaitable<pb::ExecutionEnd> Drive(rpc::Channel& agent);
  Awaitable<pb::ExecutionEnd> Converse(rpc::Channel& agent, Stream& stream, TaskScope& side);
  Awaitable<pb::ExecutionEnd> Collect(Stream& stream);
  Awaitable<void> WatchStart();
  void EndHere(pb::ExecutionEnd end);
  Awaitable<void> PumpInput(Stream& stream);
  Awaitable<void> WatchTimeout(rpc::Channel& agent, Stream& stream);
  Awaitable<Result<void>> Control(rpc::Channel& agent, pb::ExecInput input);
  void RecordEnd(pb::ExecutionEnd end);

  std::string id_;
  std::filesystem::path record_;
  warden_link::SpoolWriter spool_;
  pb::ExecStart start_;
  ExecutionLimits limits_;
  BeforeEnd before_end_;
  Stream* stream_ = nullptr;  // while it runs

  Notifier changed_;  // the record grew, or input was queued or taken
  std::deque<pb::ExecInput> inputs_;
  size_t queued_bytes_ = 0;
  bool stdin_closed_ = false;
  bool signaled_ = false;
  bool timed_out_ = false;
  bool heard_ = false;  // the guest has taken the command
  std::optional<pb::ExecutionEnd> ended_here_;
  bool ended_ = false;
  int64_t end_offset_ = warden_link::kSpoolStart;  // of the last frame, once ended
};

}  // namespace cleanroom::warden
