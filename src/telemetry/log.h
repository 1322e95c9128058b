// Log: what a process says of its own doings, one line an event on stderr. A line is a text that is
// always the same for one kind of event, and fields.
//
//   Log(LogLevel::kWarn, "cannot prune records", Field("sandbox_id", id), Field("error", error));
//
// As text: `2026-11-30T14:02:03.123Z warn cannot prune records sandbox_id=01kr… error="…"`. As JSON:
// one object with time, level, message, and each field under its name. What guests and peers chose
// breaks neither a line nor the JSON.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/result.h"

namespace cleanroom::telemetry {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  std::string_view name;
  std::variant<std::string, int64_t> value;
};

inline LogField Field(std::string_view name, std::string_view value) {
  return {name, std::string(value)};
}
template <std::integral T>
LogField Field(std::string_view name, T value) {
  return {name, static_cast<int64_t>(value)};
}
template <typename Kind>
LogField Field(std::string_view name, const Id<Kind>& id) {
  return {name, id.text()};
}
inline LogField Field(std::string_view name, const Error& error) {
  return {name, error.ToString()};
}

// "trace" and "debug", "info", "warn", "error"; invalid_argument otherwise.
Result<LogLevel> ParseLogLevel(std::string_view text);

// For the whole process, before the first line; without it: info and above, as text.
void SetUpLog(LogLevel least, LogFormat format);

// One line without its end. Pure.
std::string LogLine(LogFormat format, std::string_view time, LogLevel level, std::string_view text,
                    const std::vector<LogField>& fields);

// Writes the line, if its level is not below the least. Any thread.
void WriteLog(LogLevel level, std::string_view text, const std::vector<LogField>& fields);

template <std::same_as<LogField>... Fields>
void Log(LogLevel level, std::string_view text, const Fields&... fields) {
  WriteLog(level, text, {fields...});
}

}  // namespace cleanroom::telemetry
