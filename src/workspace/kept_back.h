// What keeps files from travelling: git's own rules, and a .cleanroomignore. That is read by git, with the rules of .gitignore,
// wherever it lies in the work tree; beside .gitignore it also holds for files that are tracked.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

inline constexpr std::string_view kKeptBackFile = ".cleanroomignore";

// Which of `paths` (relative to the top, tracked or not, there or not) are kept back. `scratch`: a
// folder for a temporary file.
Result<std::unordered_set<std::string>> KeptBack(const Repository& repository,
                                                 const std::vector<std::string>& paths,
                                                 const std::string& scratch);

// Which of `paths`, relative to the top, git ignores: none that is tracked. failed_precondition where
// git cannot say.
Result<std::unordered_set<std::string>> Ignored(const Repository& repository,
                                                const std::vector<std::string>& paths);

}  // namespace cleanroom::workspace
