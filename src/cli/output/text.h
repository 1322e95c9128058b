// How values are written for people: tables, times, sizes; and how people write values: durations,
// KEY=VAL.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::cli {

// Rows under headings, columns padded to their widest cell. Cells pass through Printable.
class Table {
 public:
  explicit Table(std::vector<std::string> headings);
  void AddRow(std::vector<std::string> cells);
  // Lines that end in a newline and carry no spaces at their ends.
  std::string Render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// `text` with control characters and bytes that are not UTF-8 written as \xNN. What a guest or an
// image chose (commands, reasons, console lines) passes through it, so that it cannot drive the
// user's terminal. With `keep_newlines` line feeds stay.
enum class Newlines { kEscape, kKeep };
std::string Printable(std::string_view text, Newlines newlines = Newlines::kEscape);

// "just now", "42s ago", "3m ago", "5h ago", "12d ago"; "-" for nothing.
std::string Ago(std::optional<std::chrono::system_clock::time_point> when,
                std::chrono::system_clock::time_point now);
// "850ms", "2.4s", "3m12s", "2h05m".
std::string HumanDuration(std::chrono::milliseconds duration);
// "512 B", "3.4 KiB", "1.2 GiB".
std::string HumanBytes(int64_t bytes);
// RFC 3339 in UTC with milliseconds.
std::string Timestamp(std::chrono::system_clock::time_point when);

// "90", "90s", "5m", "1h30m", "2d"; at most kMaxDuration.
inline constexpr std::chrono::seconds kMaxDuration{365LL * 24 * 3600};
Result<std::chrono::seconds> ParseDuration(std::string_view text);

// "KEY=VAL", or "KEY" for the value that KEY has in this process's environment; nothing when it has
// none.
Result<std::optional<std::string>> ParseEnv(const std::string& text);

// An argument list as one would type it in a shell.
std::string ShellQuote(const std::vector<std::string>& argv);

}  // namespace cleanroom::cli
