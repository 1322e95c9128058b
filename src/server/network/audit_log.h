// AuditLog: the host's log of network decisions, JSON lines in files of one day each.
//
//   FOLDER/network-YYYY-MM-DD.jsonl, then network-YYYY-MM-DD.1.jsonl and so on as each is full
//
// Days are UTC, of the writing. Files have mode 0600. Everything here blocks; one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::server {

// A piece that tools open without pain.
inline constexpr int64_t kAuditPieceBytes = 64LL << 20;
// Of all files: beyond it the oldest go before their time. A guest that never stops writes some 150
// MB a day (warden/decision_coalescer.h), so this is months of one, or days of very many.
inline constexpr int64_t kAuditTotalBytes = 16LL << 30;

class AuditLog {
 public:
  struct Limits {
    std::chrono::days keep{90};  // days before today
    int64_t piece_bytes = kAuditPieceBytes;
    int64_t total_bytes = kAuditTotalBytes;
  };
  AuditLog(std::filesystem::path folder, Limits limits)
      : folder_(std::move(folder)), limits_(limits) {}

  // Appends whole lines, each with its newline: all of them, or none as far as readers see.
  Result<void> Append(std::string_view lines, std::chrono::system_clock::time_point now);
  // Removes what is past its days or beyond the total; answers the names.
  Result<std::vector<std::string>> Prune(std::chrono::system_clock::time_point now);

 private:
  Result<void> OpenPiece(std::chrono::sys_days day);
  std::filesystem::path PieceFile(std::chrono::sys_days day, int piece) const;

  std::filesystem::path folder_;
  Limits limits_;
  os::UniqueFd fd_;
  std::chrono::sys_days day_{};
  int piece_ = 0;
  int64_t size_ = 0;
};

}  // namespace cleanroom::server
