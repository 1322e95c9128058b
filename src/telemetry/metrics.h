// Metrics: what this process counts, as Prometheus takes it. Whoever counts registers as a source;
// nobody collects by hand.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleanroom::telemetry {

// Prometheus text exposition, format 0.0.4.
class MetricsText {
 public:
  using Labels = std::vector<std::pair<std::string_view, std::string>>;
  enum class Type { kCounter, kGauge };
  // Begins a metric; its samples follow.
  void Family(std::string_view name, Type type, std::string_view help);
  void Sample(std::string_view name, const Labels& labels, double value);
  void Sample(std::string_view name, const Labels& labels, uint64_t value);
  std::string Take() { return std::move(text_); }

 private:
  void Write(std::string_view name, const Labels& labels, const std::string& value);
  std::string text_;
};

// The media type of what it gives.
inline constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

class MetricsSource {
 public:
  virtual ~MetricsSource() = default;
  // Writes its families, each with all its samples. Quick: it runs on the daemon's thread.
  virtual void WriteMetrics(MetricsText& out) const = 0;
};

class Metrics {
 public:
  // `source` outlives this. Families appear in the order in which their sources were added.
  void Add(const MetricsSource& source) { sources_.push_back(&source); }
  std::string Text() const;

 private:
  std::vector<const MetricsSource*> sources_;
};

}  // namespace cleanroom::telemetry
