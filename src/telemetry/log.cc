#include "telemetry/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "base/time_text.h"

namespace cleanroom::telemetry {
namespace {

struct Setting {
  LogLevel least = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
};
std::atomic<Setting> setting;

std::string_view NameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

// A value that a reader of `name=value` cannot misread stands as it is.
std::string Quoted(std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\\") == std::string_view::npos &&
                     EscapeUnprintable(value) == value;
  if (plain) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return EscapeUnprintable(out + "\"");
}

std::string JsonLine(std::string_view time, LogLevel level, std::string_view text,
                     const std::vector<LogField>& fields) {
  nlohmann::ordered_json line;
  line["time"] = time;
  line["level"] = NameOf(level);
  line["message"] = text;
  for (const LogField& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.name)] = value; }, field.value);
  }
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Result<LogLevel> ParseLogLevel(std::string_view text) {
  if (text == "trace" || text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warn") return LogLevel::kWarn;
  if (text == "error") return LogLevel::kError;
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("log level '{}' is none of debug, info, warn, error", text));
}

void SetUpLog(LogLevel least, LogFormat format) { setting = {least, format}; }

std::string LogLine(LogFormat format, std::string_view time, LogLevel level, std::string_view text,
                    const std::vector<LogField>& fields) {
  if (format == LogFormat::kJson) return JsonLine(time, level, text, fields);
  std::string line = fmt::format("{} {} {}", time, NameOf(level), EscapeUnprintable(text));
  for (const LogField& field : fields) {
    const auto* number = std::get_if<int64_t>(&field.value);
    line += fmt::format(" {}={}", field.name,
                        number != nullptr ? fmt::format("{}", *number)
                                          : Quoted(std::get<std::string>(field.value)));
  }
  return line;
}

void WriteLog(LogLevel level, std::string_view text, const std::vector<LogField>& fields) {
  const Setting now = setting;
  if (level < now.least) return;
  const std::string time = TimeText(std::chrono::system_clock::now(), TimeDigits::kMicroseconds);
  const std::string line = LogLine(now.format, time, level, text, fields) + "\n";
  // One write, so that lines of several threads do not mix. There is nobody to tell that it failed.
  (void)!write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace cleanroom::telemetry
