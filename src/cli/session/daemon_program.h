// Finding cleanroomd, which `cleanroom serve` becomes.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace cleanroom::cli {

// In the folder of this program, else in ../libexec/cleanroom beside it. not_found naming both
// places.
Result<std::string> FindDaemonProgram();
Result<std::string> FindDaemonProgram(const std::string& program_folder);

// Replaces this process by `cleanroomd serve ARGS...`; returns only when that fails.
Error BecomeDaemon(const std::vector<std::string>& args);

}  // namespace cleanroom::cli
