// Times as people and records write them: RFC 3339 in UTC.
#pragma once

#include <chrono>
#include <string>

namespace cleanroom {

enum class TimeDigits { kMilliseconds = 3, kMicroseconds = 6 };

// "2026-11-30T14:02:03.123Z", rounded down.
std::string TimeText(std::chrono::system_clock::time_point when, TimeDigits digits);

// "2026-11-30".
std::string DayText(std::chrono::sys_days day);

}  // namespace cleanroom
