#include "telemetry/log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace cleanroom::telemetry {
namespace {

constexpr std::string_view kTime = "2026-11-30T14:02:03.123456Z";

std::string Text(std::string_view text, const std::vector<LogField>& fields) {
  return LogLine(LogFormat::kText, kTime, LogLevel::kWarn, text, fields);
}

TEST(LogTest, TextAndFields) {
  EXPECT_EQ(Text("cannot prune", {Field("sandbox_id", "01kr"), Field("count", 3)}),
            "2026-11-30T14:02:03.123456Z warn cannot prune sandbox_id=01kr count=3");
  EXPECT_EQ(Text("x", {Field("error", Error(ErrorCode::kNotFound, "no \"a\""))}),
            "2026-11-30T14:02:03.123456Z warn x error=\"not_found: no \\\"a\\\"\"");
  EXPECT_EQ(Text("x", {Field("name", "")}), "2026-11-30T14:02:03.123456Z warn x name=\"\"");
}

TEST(LogTest, NothingBreaksALine) {
  const std::string line = Text("a\nb", {Field("name", "c\nlevel=error\x1b[2J")});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
}

TEST(LogTest, JsonHasFieldsOfItsOwn) {
  const std::string line = LogLine(LogFormat::kJson, kTime, LogLevel::kError, "odd \xff",
                                   {Field("sandbox_id", "a\"b\n"), Field("ms", int64_t{-4})});
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["time"], kTime);
  EXPECT_EQ(json["sandbox_id"], "a\"b\n");
  EXPECT_EQ(json["ms"], -4);
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(LogTest, Levels) {
  EXPECT_EQ(ParseLogLevel("warn").value(), LogLevel::kWarn);
  EXPECT_EQ(ParseLogLevel("trace").value(), LogLevel::kDebug);
  EXPECT_FALSE(ParseLogLevel("loud"));
}

}  // namespace
}  // namespace cleanroom::telemetry
