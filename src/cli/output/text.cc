#include "cli/output/text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>

#include "base/printable.h"
#include "base/time_text.h"

namespace cleanroom::cli {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

// Characters that `text` (Printable) takes on a terminal, each counted as one cell.
size_t Width(std::string_view text) {
  size_t width = 0;
  for (const char c : text) width += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return width;
}

}  // namespace

Table::Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = cell.empty() ? "-" : Printable(cell);
  cells.resize(rows_.front().size(), "-");
  rows_.push_back(std::move(cells));
}

std::string Table::Render() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string Printable(std::string_view text, Newlines newlines) {
  return EscapeUnprintable(text, newlines == Newlines::kKeep ? "\n" : "");
}

std::string Ago(std::optional<system_clock::time_point> when, system_clock::time_point now) {
  if (!when) return "-";
  const int64_t s = duration_cast<seconds>(now - *when).count();
  if (s < 2) return "just now";
  if (s < 120) return fmt::format("{}s ago", s);
  if (s < 7200) return fmt::format("{}m ago", s / 60);
  if (s < 172'800) return fmt::format("{}h ago", s / 3600);
  return fmt::format("{}d ago", s / 86400);
}

std::string HumanDuration(milliseconds duration) {
  const int64_t ms = std::max<int64_t>(duration.count(), 0);
  if (ms < 1000) return fmt::format("{}ms", ms);
  if (ms < 60'000) return fmt::format("{}.{}s", ms / 1000, ms % 1000 / 100);
  if (ms < 3'600'000) return fmt::format("{}m{:02}s", ms / 60'000, ms / 1000 % 60);
  return fmt::format("{}h{:02}m", ms / 3'600'000, ms / 60'000 % 60);
}

std::string HumanBytes(int64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string Timestamp(system_clock::time_point when) {
  return TimeText(when, TimeDigits::kMilliseconds);
}

Result<seconds> ParseDuration(std::string_view text) {
  const auto bad = [text] {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is no duration: write whole seconds (90) or units (30s, 5m, "
                           "1h30m, 2d), at most 365d",
                           text.substr(0, 64)));
  };
  if (text.empty()) return bad();
  int64_t total = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    if (*at < '0' || *at > '9') return bad();
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value > kMaxDuration.count()) return bad();
    std::string_view unit(next, static_cast<size_t>(end - next));
    unit = unit.substr(0, unit.find_first_of("0123456789"));
    int64_t scale = 0;
    if (unit == "s" || (unit.empty() && at == text.data())) scale = 1;
    if (unit == "m") scale = 60;
    if (unit == "h") scale = 3600;
    if (unit == "d") scale = 86'400;
    if (scale == 0) return bad();
    total += value * scale;
    if (total > kMaxDuration.count()) return bad();
    at = next + unit.size();
  }
  return seconds(total);
}

Result<std::optional<std::string>> ParseEnv(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  if (key.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("'{}' names no variable: write KEY=VALUE or KEY", text));
  }
  if (equals != std::string::npos) return text;
  const char* value = std::getenv(key.c_str());
  if (value == nullptr) return std::nullopt;
  return fmt::format("{}={}", key, value);
}

std::string ShellQuote(const std::vector<std::string>& argv) {
  std::string out;
  for (const std::string& word : argv) {
    if (!out.empty()) out += ' ';
    const bool plain =
        !word.empty() && word.find_first_not_of(
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                             "_@%+=:,./-") == std::string::npos;
    if (plain) {
      out += word;
      continue;
    }
    out += '\'';
    for (const char c : word) {
      if (c == '\'') {
        out += "'\\''";
      } else {
        out += c;
      }
    }
    out += '\'';
  }
  return out;
}

}  // namespace cleanroom::cli
