// What an error looks like on standard error, and what to do about it.
#pragma once

#include <string>

#include "base/error.h"

namespace cleanroom::cli {

// One line that says what to run or change next; never empty.
std::string Remedy(const Error& error);

// Both lines, each with a newline, safe for a terminal.
std::string Describe(const Error& error);

// An invalid_argument of the command line. `command`: "cleanroom image pull".
Error UsageError(const std::string& message, const std::string& command);

}  // namespace cleanroom::cli
