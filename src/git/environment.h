// The command lines and environments of git: pure functions of a command and the configuration.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "git/command.h"

namespace cleanroom::git {

// Where a variable of the daemon's environment comes from; nullptr when it is not set.
using LookUp = std::function<const char*(const char* name)>;

std::vector<std::string> LocalArguments(const GitConfig& config, const Command& command);
std::vector<std::string> LocalEnvironment(const Command& command);

std::vector<std::string> UpstreamArguments(const GitConfig& config, const Command& command);
std::vector<std::string> UpstreamEnvironment(const GitConfig& config, const Command& command,
                                             const LookUp& look_up);

}  // namespace cleanroom::git
