// Qmp: a client of QEMU's machine protocol (one JSON object per line) on a connected stream.
//
// QEMU is not trusted more than its guest: a line has at most kMaxLine bytes, a call reads at most
// kMaxLines lines before its answer, and every call has a deadline. After an error the connection
// is of no further use.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::vmm {

class Qmp {
 public:
  static constexpr size_t kMaxLine = 256 << 10;
  static constexpr int kMaxLines = 1000;

  explicit Qmp(os::UniqueFd fd) : fd_(std::move(fd)) {}

  // Reads the greeting and negotiates. Once, before Call.
  Result<void> Handshake(std::chrono::steady_clock::time_point deadline);

  // Runs a command with its arguments, a JSON object ("{}" for none), and returns the JSON text of
  // its "return". Events that come between are dropped. runtime_launch_failed with QEMU's
  // description when it answers with an error, unavailable when it hung up, data_corrupt for what
  // is not QMP.
  Result<std::string> Call(std::string_view command, std::string_view arguments,
                           std::chrono::steady_clock::time_point deadline);

  struct Command {
    std::string name;
    std::string arguments;
    int fd = -1;  // sent beside the command; QEMU keeps a copy of it
  };
  // Sends all of them at once, and waits for all answers; the first error counts.
  Result<void> CallAll(std::span<const Command> commands,
                       std::chrono::steady_clock::time_point deadline);

 private:
  Result<std::string> ReadAnswer(uint64_t id, std::string_view command,
                                 std::chrono::steady_clock::time_point deadline);
  Result<std::string> ReadLine(std::chrono::steady_clock::time_point deadline);

  os::UniqueFd fd_;
  std::string buffer_;
  uint64_t next_id_ = 1;
};

}  // namespace cleanroom::vmm
