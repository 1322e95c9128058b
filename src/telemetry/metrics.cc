#include "telemetry/metrics.h"

#include <fmt/format.h>

namespace cleanroom::telemetry {
namespace {

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void MetricsText::Family(std::string_view name, Type type, std::string_view help) {
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name,
                       type == Type::kCounter ? "counter" : "gauge");
}

void MetricsText::Sample(std::string_view name, const Labels& labels, double value) {
  Write(name, labels, fmt::format("{}", value));
}

void MetricsText::Sample(std::string_view name, const Labels& labels, uint64_t value) {
  Write(name, labels, fmt::format("{}", value));
}

void MetricsText::Write(std::string_view name, const Labels& labels, const std::string& value) {
  text_ += name;
  if (!labels.empty()) {
    char separator = '{';
    for (const auto& [label, text] : labels) {
      text_ += fmt::format("{}{}=\"{}\"", separator, label, Escape(text));
      separator = ',';
    }
    text_ += '}';
  }
  text_ += ' ' + value + '\n';
}

std::string Metrics::Text() const {
  MetricsText out;
  for (const MetricsSource* source : sources_) source->WriteMetrics(out);
  return out.Take();
}

}  // namespace cleanroom::telemetry
