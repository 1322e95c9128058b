#include "base/time_text.h"

#include <fmt/format.h>

namespace cleanroom {

std::string DayText(std::chrono::sys_days day) {
  const std::chrono::year_month_day date(day);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::string TimeText(std::chrono::system_clock::time_point when, TimeDigits digits) {
  const auto time = std::chrono::floor<std::chrono::microseconds>(when);
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::hh_mm_ss clock(time - day);
  const int64_t micros = clock.subseconds().count();
  const int64_t shown = digits == TimeDigits::kMilliseconds ? micros / 1000 : micros;
  return fmt::format("{}T{:02}:{:02}:{:02}.{:0{}}Z", DayText(day), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), shown,
                     static_cast<int>(digits));
}

}  // namespace cleanroom
