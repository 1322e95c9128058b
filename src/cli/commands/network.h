// sandbox network and policy suggest: what a sandbox reached, what it was refused, and what would
// allow that.
#pragma once

#include <string>

#include "cleanroom/v1/execution.pb.h"
#include "cli/session/invocation.h"

namespace cleanroom::cli {

void AddSandboxNetworkCommand(CLI::App& group, Invocation& invocation);
void AddPolicySuggestCommand(CLI::App& group, Invocation& invocation);

// One line for each refusal that an exit carries, at most kMaxRefusalLines, and where to go from
// there; empty when there was none.
inline constexpr int kMaxRefusalLines = 20;
std::string DescribeRefusals(const ::cleanroom::v1::ExecutionExit& exit,
                             const std::string& sandbox_id);

}  // namespace cleanroom::cli
