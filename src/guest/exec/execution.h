// Execution: one command from its start to its exit, over one stream.
//
// Output: what the command writes is sent in order, in messages of up to 64 KiB, and is read no
// faster than it can be sent. Both streams are delivered to their end before the exit is. A command
// may leave processes behind that keep its pipes or terminal open: after it has exited, its output
// ends when it has been silent for kQuiet, and in any case after kLinger, but never before what lay
// in the pipes when it exited has been sent. Those processes go on living.
//
// Input: stdin is taken from the stream as fast as the command reads it. Resizes and signals in the
// stream keep their place behind it; Control does not. On a terminal, closing stdin types the
// end-of-file character.
//
// When the stream breaks or is cancelled, everything the command started is killed.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "guest/exec/cgroup.h"
#include "guest/exec/command.h"
#include "guest/exec/reaper.h"
#include "rpc/service.h"

namespace cleanroom::guest {

inline constexpr auto kQuiet = std::chrono::milliseconds(100);
inline constexpr auto kLinger = std::chrono::seconds(2);
inline constexpr size_t kOutputChunkBytes = 64 << 10;

class Execution {
 public:
  using In = rpc::Reader<internal::v1::ExecInput>;
  using Out = rpc::Writer<internal::v1::ExecOutput>;

  // Both outlive it.
  Execution(asio::any_io_executor executor, Reaper& reaper, CgroupTree& cgroups,
            Accounts& accounts);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // Runs to the end; call once. A command that cannot be run is a success that says so in `exit`.
  Awaitable<Result<void>> Run(const Root& root, const CommandDefaults& defaults,
                              const char* ptmx_path, internal::v1::ExecStart start, In& in,
                              Out& out);

  // Applies a resize or a signal at once; other input is ignored, and so is everything before the
  // command has started.
  void Control(const internal::v1::ExecInput& input);

 private:
  struct Wakeup;
  struct Stream;

  std::expected<void, SpawnFailure> Start(const Root& root, const CommandDefaults& defaults,
                                          const char* ptmx_path,
                                          const internal::v1::ExecStart& start);
  std::expected<void, SpawnFailure> OpenPipes(SpawnRequest& request, bool with_stdin);
  std::expected<void, SpawnFailure> OpenTerminalFor(SpawnRequest& request,
                                                    const internal::v1::ExecStart& start,
                                                    const char* ptmx_path);
  Awaitable<Result<void>> Converse(In& in, Out& out);
  Awaitable<void> PumpInput(In& in);
  Awaitable<void> Take(const internal::v1::ExecInput& input);
  Awaitable<void> WriteStdin(const std::string& data);
  Awaitable<void> CloseStdin();
  Awaitable<Result<void>> PumpOutput(Out& out);
  Awaitable<Result<bool>> SendChunk(Stream& stream, bool is_stderr, Out& out);
  void NoteExit();
  bool OutputEnded() const;
  void KillEverything();
  internal::v1::ExecOutput ExitMessage() const;

  asio::any_io_executor executor_;
  Reaper& reaper_;
  CgroupTree& cgroups_;
  Accounts& accounts_;
  std::shared_ptr<Wakeup> wakeup_;
  TaskScope input_;
  CgroupTree::Group group_;
  // The command's ends of its descriptors, until it has them.
  os::UniqueFd child_fds_[3];
  bool terminal_ = false;
  std::optional<asio::posix::stream_descriptor> stdin_;
  std::unique_ptr<Stream> stdout_;
  std::unique_ptr<Stream> stderr_;
  std::string chunk_;                 // output on its way
  internal::v1::ExecOutput message_;  // which carries it
  std::optional<Reaper::Child> child_;
  std::optional<Error> input_error_;
  std::optional<std::chrono::steady_clock::time_point> quiet_at_;  // once it has exited
  std::chrono::steady_clock::time_point linger_until_;
};

}  // namespace cleanroom::guest
