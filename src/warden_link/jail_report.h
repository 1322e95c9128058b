// What a warden that was started to look at its jail reports to the daemon that started it, for
// `doctor`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capability/check.h"

namespace cleanroom::warden_link {

// The first argument of a warden that is to inspect instead of to serve.
inline constexpr std::string_view kCheckFlag = "--check";

// Lines of NAME, STATUS, MESSAGE, REMEDY between tabs, and back. The text of a process of ours that
// has read nothing from anybody; lines of another form are left out.
std::string FormatJailReport(const std::vector<capability::Check>& checks);
std::vector<capability::Check> ParseJailReport(std::string_view report);

}  // namespace cleanroom::warden_link
