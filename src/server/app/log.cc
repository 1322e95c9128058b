#include "server/app/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace cleanroom::server {
namespace {

// The message with control characters escaped, and for JSON quotes and backslashes too.
class EscapedMessage : public spdlog::custom_flag_formatter {
 public:
  explicit EscapedMessage(config::LogFormat format) : format_(format) {}

  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    for (const char c : message.payload) {
      if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) {
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<uint8_t>(c));
        continue;
      }
      if (format_ == config::LogFormat::kJson && (c == '"' || c == '\\')) out.push_back('\\');
      out.push_back(c);
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<EscapedMessage>(format_);
  }

 private:
  config::LogFormat format_;
};

}  // namespace

void SetUpLog(const std::string& level, config::LogFormat format) {
  auto logger = spdlog::stderr_logger_st("cleanroomd");
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<EscapedMessage>('*', format);
  formatter->set_pattern(format == config::LogFormat::kJson
                             ? R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l","message":"%*"})"
                             : "%Y-%m-%dT%H:%M:%S.%e%z %l %*");
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace cleanroom::server
