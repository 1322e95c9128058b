// What the agent says on the console for its host to hear: constants alone.
#pragma once

#include <string_view>

namespace cleanroom::guest_link {

// Of a machine that has rehearsed by itself and may be saved,
inline constexpr std::string_view kPrimedLine = "cleanroom-guest: primed";
// and each time when it has heard a goodbye from the host and waits for another connection.
inline constexpr std::string_view kWaitingLine = "cleanroom-guest: waiting";

}  // namespace cleanroom::guest_link
