#include "server/network/audit_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <tuple>

#include "base/time_text.h"
#include "os/file.h"

namespace cleanroom::server {
namespace {

using std::chrono::sys_days;

struct FileName {
  sys_days day;
  int piece = 0;
};

// Nothing for what is no file of ours.
std::optional<FileName> ParseName(const std::string& name) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int piece = 0;
  int end = 0;
  const char* text = name.c_str();
  if (std::sscanf(text, "network-%4d-%2u-%2u%n", &year, &month, &day, &end) != 3) return {};
  const std::string rest = name.substr(static_cast<size_t>(end));
  if (rest != ".jsonl") {
    int after = 0;
    if (std::sscanf(rest.c_str(), ".%9d.jsonl%n", &piece, &after) != 1 ||
        static_cast<size_t>(after) != rest.size() || piece < 1)
      return {};
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok()) return {};
  return FileName{sys_days(date), piece};
}

}  // namespace

std::filesystem::path AuditLog::PieceFile(sys_days day, int piece) const {
  return folder_ / (piece == 0 ? fmt::format("network-{}.jsonl", DayText(day))
                               : fmt::format("network-{}.{}.jsonl", DayText(day), piece));
}

// The last piece of the day that has room, made if need be.
Result<void> AuditLog::OpenPiece(sys_days day) {
  CR_TRY(os::MakeDirs(folder_.string()));
  if (day != day_ || !fd_.valid()) piece_ = 0;
  for (;; ++piece_) {
    std::error_code ignored;
    if (std::filesystem::exists(PieceFile(day, piece_ + 1), ignored)) continue;
    CR_TRY_ASSIGN(auto fd, os::Open(PieceFile(day, piece_).string(),
                                    O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0600));
    struct stat status{};
    if (fstat(fd.get(), &status) != 0) return ErrErrno(ErrorCode::kInternal, "fstat");
    if (status.st_size >= limits_.piece_bytes) continue;
    size_ = status.st_size;
    // A line that a crash has cut stays a line of its own.
    char last = '\n';
    if (size_ > 0 && pread(fd.get(), &last, 1, size_ - 1) == 1 && last != '\n') {
      CR_TRY(os::WriteAll(fd.get(), "\n", "the audit log"));
      ++size_;
    }
    fd_ = std::move(fd);
    day_ = day;
    return {};
  }
}

Result<void> AuditLog::Append(std::string_view lines, std::chrono::system_clock::time_point now) {
  const auto day = std::chrono::floor<std::chrono::days>(now);
  if (!fd_.valid() || day != day_ || size_ >= limits_.piece_bytes) CR_TRY(OpenPiece(day));
  auto written = os::WriteAll(fd_.get(), lines, "the audit log");
  if (!written) {
    if (ftruncate(fd_.get(), size_) != 0)
      return ErrErrno(ErrorCode::kInternal, "cutting a torn line of the audit log");
    return written;
  }
  size_ += static_cast<int64_t>(lines.size());
  return {};
}

Result<std::vector<std::string>> AuditLog::Prune(std::chrono::system_clock::time_point now) {
  struct Found {
    FileName name;
    std::filesystem::path path;
    int64_t size;
  };
  std::vector<Found> files;
  std::error_code error;
  int64_t total = 0;
  for (std::filesystem::directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error)) {
    const auto name = ParseName(it->path().filename().string());
    std::error_code gone;
    if (!name || !it->is_regular_file(gone)) continue;
    const auto size = static_cast<int64_t>(it->file_size(gone));
    if (gone) continue;
    files.push_back({*name, it->path(), size});
    total += size;
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return Err(ErrorCode::kInternal,
               fmt::format("looking into {}: {}", folder_.string(), error.message()));
  std::sort(files.begin(), files.end(), [](const Found& a, const Found& b) {
    return std::tie(a.name.day, a.name.piece) < std::tie(b.name.day, b.name.piece);
  });
  const auto oldest = std::chrono::floor<std::chrono::days>(now) - limits_.keep;
  std::vector<std::string> removed;
  // Never the last, which is being written.
  for (size_t i = 0; i + 1 < files.size(); ++i) {
    if (files[i].name.day >= oldest && total <= limits_.total_bytes) break;
    std::filesystem::remove(files[i].path, error);
    if (error) continue;
    total -= files[i].size;
    removed.push_back(files[i].path.filename().string());
  }
  // Unless it is of a day that is past.
  if (!files.empty() && files.back().name.day < oldest &&
      std::filesystem::remove(files.back().path, error))
    removed.push_back(files.back().path.filename().string());
  return removed;
}

}  // namespace cleanroom::server
