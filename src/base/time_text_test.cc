#include "base/time_text.h"

#include <gtest/gtest.h>

namespace cleanroom {
namespace {

using std::chrono::microseconds;
using std::chrono::system_clock;

std::string At(int64_t micros, TimeDigits digits) {
  return TimeText(system_clock::time_point(microseconds(micros)), digits);
}

TEST(TimeTextTest, Rfc3339) {
  EXPECT_EQ(At(0, TimeDigits::kMilliseconds), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(At(1'796'047'323'123'456, TimeDigits::kMilliseconds), "2026-11-30T14:02:03.123Z");
  EXPECT_EQ(At(1'796'047'323'123'456, TimeDigits::kMicroseconds), "2026-11-30T14:02:03.123456Z");
}

TEST(TimeTextTest, BeforeTheEpochItIsRoundedDown) {
  EXPECT_EQ(At(-1, TimeDigits::kMilliseconds), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace cleanroom
