// What an error looks like on standard error, and what to do about it.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace cleanroom::cli {

// One line that says what to run or change next; never empty. The error's own remedy where it has
// one, else by its code and what it is about; its message is not looked into. `command`: the one
// that failed, as "cleanroom image pull".
std::string Remedy(const Error& error, std::string_view command = "cleanroom");

// Both lines, each with a newline, safe for a terminal.
std::string Describe(const Error& error, std::string_view command = "cleanroom");

// An invalid_argument of the command line. `command`: "cleanroom image pull".
Error UsageError(const std::string& message, const std::string& command);

// "cleanroom: warning: TEXT" on standard error.
void PrintWarning(std::string_view text);

}  // namespace cleanroom::cli
