#include "telemetry/metrics.h"

#include <gtest/gtest.h>

namespace cleanroom::telemetry {
namespace {

TEST(MetricsTextTest, EscapesLabels) {
  MetricsText out;
  out.Family("m", MetricsText::Type::kGauge, "Help.");
  out.Sample("m", {{"l", "a\"b\\c\nd"}}, 1.5);
  EXPECT_EQ(out.Take(), "# HELP m Help.\n# TYPE m gauge\nm{l=\"a\\\"b\\\\c\\nd\"} 1.5\n");
}

class Counted : public MetricsSource {
 public:
  explicit Counted(std::string name) : name_(std::move(name)) {}
  void WriteMetrics(MetricsText& out) const override {
    out.Family(name_, MetricsText::Type::kCounter, "Help.");
    out.Sample(name_, {}, uint64_t{7});
  }

 private:
  std::string name_;
};

TEST(MetricsTest, SourcesAppearInTheirOrder) {
  const Counted b("b");
  const Counted a("a");
  Metrics metrics;
  EXPECT_EQ(metrics.Text(), "");
  metrics.Add(b);
  metrics.Add(a);
  EXPECT_EQ(metrics.Text(),
            "# HELP b Help.\n# TYPE b counter\nb 7\n# HELP a Help.\n# TYPE a counter\na 7\n");
}

}  // namespace
}  // namespace cleanroom::telemetry
