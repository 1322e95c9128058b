#include "cli/output/text.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace cleanroom::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

TEST(TableTest, AlignsColumnsAndLeavesNoSpacesAtLineEnds) {
  Table table({"ID", "STATUS", "IMAGE"});
  table.AddRow({"01kr7p9ksmfa7rmyypyqw2w8r0", "READY", "docker.io/library/b\xc3\xb6rse"});
  table.AddRow({"x", "", "y"});
  EXPECT_EQ(table.Render(),
            "ID                          STATUS  IMAGE\n"
            "01kr7p9ksmfa7rmyypyqw2w8r0  READY   docker.io/library/b\xc3\xb6rse\n"
            "x                           -       y\n");
}

TEST(TableTest, ACellCannotDriveTheTerminal) {
  Table table({"COMMAND"});
  table.AddRow({"\x1b]0;owned\x07\nFAKE ROW"});
  EXPECT_EQ(table.Render(), "COMMAND\n\\x1b]0;owned\\x07\\x0aFAKE ROW\n");
}

TEST(PrintableTest, EscapesControlsAndBrokenUtf8Only) {
  EXPECT_EQ(Printable("caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x98\x80"),
            "caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x98\x80");
  EXPECT_EQ(Printable("a\xff"
                      "b\xc3"),
            "a\\xffb\\xc3");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");                               // C1 CSI
  EXPECT_EQ(Printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");  // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(Printable("a\nb\r", Newlines::kKeep), "a\nb\\x0d");
}

TEST(AgoTest, ChoosesTheUnit) {
  const auto now = system_clock::time_point(seconds(1'800'000'000));
  EXPECT_EQ(Ago(std::nullopt, now), "-");
  EXPECT_EQ(Ago(now + seconds(5), now), "just now");
  EXPECT_EQ(Ago(now - seconds(42), now), "42s ago");
  EXPECT_EQ(Ago(now - seconds(185), now), "3m ago");
  EXPECT_EQ(Ago(now - seconds(5 * 3600 + 1), now), "5h ago");
  EXPECT_EQ(Ago(now - seconds(12 * 86400), now), "12d ago");
}

TEST(HumanTest, DurationsAndBytes) {
  EXPECT_EQ(HumanDuration(milliseconds(850)), "850ms");
  EXPECT_EQ(HumanDuration(milliseconds(2449)), "2.4s");
  EXPECT_EQ(HumanDuration(seconds(192)), "3m12s");
  EXPECT_EQ(HumanDuration(seconds(7500)), "2h05m");
  EXPECT_EQ(HumanBytes(512), "512 B");
  EXPECT_EQ(HumanBytes(3482), "3.4 KiB");
  EXPECT_EQ(HumanBytes((1LL << 20) - 1), "1.0 MiB");
  EXPECT_EQ(HumanBytes(1288490189), "1.2 GiB");
  EXPECT_EQ(Timestamp(system_clock::time_point(milliseconds(1'700'000'000'007))),
            "2023-11-14T22:13:20.007Z");
}

TEST(ParseDurationTest, AcceptsSecondsAndUnits) {
  EXPECT_EQ(ParseDuration("90").value(), seconds(90));
  EXPECT_EQ(ParseDuration("30s").value(), seconds(30));
  EXPECT_EQ(ParseDuration("5m").value(), seconds(300));
  EXPECT_EQ(ParseDuration("1h30m").value(), seconds(5400));
  EXPECT_EQ(ParseDuration("2d12h").value(), seconds(216'000));
  EXPECT_EQ(ParseDuration("0").value(), seconds(0));
  EXPECT_EQ(ParseDuration("8760h").value(), kMaxDuration);
}

TEST(ParseDurationTest, RefusesTheRest) {
  for (const char* text : {"", "s", "-5", "+5", "5x", "1h30", "5 m", "8761h", "366d", "500ms",
                           "99999999999999999999", "1.5s"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
}

TEST(ParseEnvTest, TakesTheValueFromTheEnvironmentWhenNoneIsGiven) {
  ASSERT_EQ(setenv("CLEANROOM_TEST_SET", "a=b c", 1), 0);
  ASSERT_EQ(unsetenv("CLEANROOM_TEST_UNSET"), 0);
  EXPECT_EQ(ParseEnv("A=").value(), "A=");
  EXPECT_EQ(ParseEnv("A=x=y").value(), "A=x=y");
  EXPECT_EQ(ParseEnv("CLEANROOM_TEST_SET").value(), "CLEANROOM_TEST_SET=a=b c");
  EXPECT_EQ(ParseEnv("CLEANROOM_TEST_UNSET").value(), std::nullopt);
  EXPECT_FALSE(ParseEnv("=x").has_value());
  EXPECT_FALSE(ParseEnv("").has_value());
}

TEST(ShellQuoteTest, QuotesOnlyWhereNeeded) {
  EXPECT_EQ(ShellQuote({"sh", "-c", "echo it's", ""}), "sh -c 'echo it'\\''s' ''");
}

}  // namespace
}  // namespace cleanroom::cli
