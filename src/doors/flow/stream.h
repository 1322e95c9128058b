// Stream: a connected, non-blocking TCP socket whose readiness can be awaited. Reading and writing
// are separate from waiting, so that a direction of a connection holds no buffer while it waits.
//
// One coroutine may wait for reading and another for writing. Close and Reset may be called at any
// time, also while others wait: their waits then fail. The Stream must outlive all waits.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/async.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {

class Stream {
 public:
  using Wait = asio::posix::stream_descriptor::wait_type;
  using Clock = std::chrono::steady_clock;

  // `fd` is a non-blocking socket. Sets TCP_NODELAY and keepalive.
  Stream(const asio::any_io_executor& executor, os::UniqueFd fd);

  bool open() const { return descriptor_.is_open(); }
  asio::any_io_executor executor() { return descriptor_.get_executor(); }
  int fd() { return descriptor_.native_handle(); }

  // An error when the stream was closed or the task cancelled, before or meanwhile.
  Awaitable<Result<void>> Ready(Wait what);
  // The same; deadline_exceeded when nothing happened until `deadline`.
  Awaitable<Result<void>> ReadyBy(Wait what, Clock::time_point deadline);

  enum class Status { kMoved, kEnd, kWouldBlock, kFailed };
  struct Moved {
    Status status = Status::kFailed;
    size_t count = 0;
  };
  // Whether errno says that the descriptor has no bytes, or no room, now.
  static bool WouldBlock();
  // Never blocks. kEnd: the peer has finished writing.
  Moved Read(std::span<char> into);
  Moved Write(std::string_view bytes);
  // Waits for bytes or the end and reads: never kWouldBlock. `into` may be a buffer that is shared
  // with others: it is written to only when there is something, and then the caller goes on before
  // anybody else does.
  Awaitable<Moved> ReadSome(std::span<char> into);
  // Whether bytes, or the end, wait to be read.
  bool HasInput();
  // Whether bytes do.
  bool HasBytes();

  // Writes everything, waiting as often as needed. False when the connection broke.
  Awaitable<bool> WriteAll(std::string bytes);
  // Tells the peer that no more comes; reading goes on.
  void FinishWriting();

  // Ends the connection with a reset, or in order.
  void Reset();
  void Close();
  // Sends `last` so that it arrives although the peer may still be sending: finishes writing, reads
  // what comes for at most kDrainTime or kDrainBytes, then closes.
  Awaitable<void> CloseAfter(std::string last);
  static constexpr std::chrono::milliseconds kDrainTime{200};
  static constexpr size_t kDrainBytes = 64 << 10;

 private:
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace cleanroom::doors
