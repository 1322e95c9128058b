#include "vmm/console_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "base/printable.h"
#include "os/file.h"

namespace cleanroom::vmm {
namespace {

constexpr std::string_view kPanic = "Kernel panic - not syncing: ";
constexpr size_t kMaxRead = 256 << 10;

}  // namespace

std::string Printable(std::string_view line) {
  return ReplaceUnprintable(line.substr(0, ConsoleLog::kMaxLineBytes), "\t");
}

Result<ConsoleLog> ConsoleLog::Create(const std::string& path, size_t max_bytes) {
  (void)unlink((path + ".1").c_str());
  CR_TRY_ASSIGN(os::UniqueFd fd, os::Open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  return ConsoleLog(path, max_bytes, std::move(fd));
}

void ConsoleLog::FindPanic() {
  const size_t at = tail_.find(kPanic);
  if (at == std::string::npos) return;
  const size_t begin = at + kPanic.size();
  const size_t end = tail_.find_first_of("\r\n", begin);
  if (end == std::string::npos && tail_.size() - begin < kMaxLineBytes)
    return;  // not all there yet
  panic_ = Printable(std::string_view(tail_).substr(
      begin, end == std::string::npos ? std::string::npos : end - begin));
}

Result<void> ConsoleLog::Append(std::string_view bytes) {
  // In pieces that fit the tail, so that no panic passes through unseen.
  for (std::string_view rest = bytes; !rest.empty();) {
    const std::string_view piece = rest.substr(0, kTailBytes / 2);
    rest.remove_prefix(piece.size());
    tail_.append(piece);
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
    if (!panic_) FindPanic();
  }
  const size_t half = std::max<size_t>(max_bytes_ / 2, 1);
  while (!bytes.empty()) {
    if (in_file_ >= half) {
      if (rename(path_.c_str(), (path_ + ".1").c_str()) != 0) {
        return ErrErrno(ErrorCode::kInternal, fmt::format("rename {}", path_));
      }
      CR_TRY_ASSIGN(fd_, os::Open(path_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
      in_file_ = 0;
    }
    const std::string_view piece = bytes.substr(0, half - in_file_);
    CR_TRY(os::WriteAll(fd_.get(), piece, path_));
    in_file_ += piece.size();
    bytes.remove_prefix(piece.size());
  }
  return {};
}

Result<bool> ConsoleLog::ReadFrom(int fd) {
  std::array<char, 16384> buffer;
  for (size_t total = 0; total < kMaxRead;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (n < 0 && errno == ECONNRESET) return false;
    if (n < 0) return ErrErrno(ErrorCode::kInternal, "read the console");
    if (n == 0) return false;
    total += static_cast<size_t>(n);
    CR_TRY(Append(std::string_view(buffer.data(), static_cast<size_t>(n))));
  }
  return true;
}

std::string ConsoleLog::LastLines(size_t count) const {
  std::vector<std::string> lines;
  std::string_view rest = tail_;
  while (lines.size() < count && !rest.empty()) {
    const size_t newline = rest.find_last_of("\r\n");
    const std::string_view line =
        newline == std::string_view::npos ? rest : rest.substr(newline + 1);
    rest = newline == std::string_view::npos ? std::string_view() : rest.substr(0, newline);
    if (!line.empty()) lines.push_back(Printable(line));
  }
  std::reverse(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, "\n"));
}

}  // namespace cleanroom::vmm
