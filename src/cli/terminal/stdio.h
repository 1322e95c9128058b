// Input and Output: the process's standard streams, read and written from the event loop.
//
// Standard streams are shared with the shell and with other processes, so their flags are never
// changed (no O_NONBLOCK). Readiness comes from an epoll descriptor of our own that watches the
// stream; what epoll does not take (regular files, /dev/null) never makes one wait for long and is
// read and written directly. A pipe or a terminal to write to is opened once more, through /proc,
// for an O_NONBLOCK that is ours alone.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/async.h"
#include "os/unique_fd.h"

namespace cleanroom::cli {

// Waits until a descriptor can be read or written.
class Readiness;

class Input {
 public:
  // Does not own `fd`, which stays open while a Read is under way.
  Input(asio::any_io_executor executor, int fd);
  ~Input();
  // At least one byte; 0 at the end. A terminal is read only while we are in its foreground.
  // kCanceled when the task is cancelled.
  Awaitable<Result<size_t>> Read(std::span<char> buffer);

 private:
  int fd_;
  bool is_terminal_;
  std::unique_ptr<Readiness> readiness_;  // none: always ready
};

class Output {
 public:
  Output(asio::any_io_executor executor, int fd);
  ~Output();
  // Writes everything, waiting for a slow reader without blocking the loop. kUnavailable with errno
  // EPIPE when the reader is gone (SIGPIPE must be ignored), kResourceExhausted when the disk is
  // full.
  Awaitable<Result<void>> Write(std::string_view data);

 private:
  ssize_t WriteSome(std::string_view data);

  int fd_;
  os::UniqueFd own_;  // the same pipe or terminal, non-blocking; none when it could not be had
  std::unique_ptr<Readiness> readiness_;
};

}  // namespace cleanroom::cli
