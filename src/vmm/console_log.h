// ConsoleLog: the bounded record of what a guest's console said.
//
// The guest may write without end and anything: the files hold at most `max_bytes` together (the
// newest and, in PATH.1, what came before), memory at most kTailBytes. Text handed out is
// printable.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::vmm {

class ConsoleLog {
 public:
  static constexpr size_t kDefaultMaxBytes = 1 << 20;
  static constexpr size_t kTailBytes = 16 << 10;
  static constexpr size_t kMaxLineBytes = 400;  // of a line handed out

  // Starts `path` anew, mode 0600.
  static Result<ConsoleLog> Create(const std::string& path, size_t max_bytes = kDefaultMaxBytes);

  // Keeps `bytes`. An error is about the files; the tail in memory is kept regardless.
  Result<void> Append(std::string_view bytes);

  // Reads what a descriptor has to give into the log, without waiting if it is non-blocking, at
  // most 256 KiB. False at its end.
  Result<bool> ReadFrom(int fd);

  // The last `count` lines: no control characters, no invalid UTF-8, none empty.
  std::string LastLines(size_t count) const;

  // The reason of the guest kernel's panic ("Kernel panic - not syncing: ..." without that prefix),
  // once it has appeared.
  const std::optional<std::string>& panic() const { return panic_; }

 private:
  ConsoleLog(std::string path, size_t max_bytes, os::UniqueFd fd)
      : path_(std::move(path)), max_bytes_(max_bytes), fd_(std::move(fd)) {}
  void FindPanic();

  std::string path_;
  size_t max_bytes_;
  os::UniqueFd fd_;
  size_t in_file_ = 0;
  std::string tail_;
  std::optional<std::string> panic_;
};

// One line of hostile text made fit for a terminal: control characters, escape sequences' ESC and
// bytes that are not UTF-8 become '?', cut at ConsoleLog::kMaxLineBytes.
std::string Printable(std::string_view line);

}  // namespace cleanroom::vmm
