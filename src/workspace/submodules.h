// Submodules: what of them cannot travel. A sandbox gets the commits that the repository names, from
// where they are published; local work in a submodule has no way to get there, so it is refused by
// name instead of being left behind unseen.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "workspace/index_entries.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

// failed_precondition naming the first submodule (of `tracked`, also nested) that is changed: its
// HEAD is another commit than the index has, or its work tree is dirty. One that is not checked out
// is not changed.
Result<void> CheckSubmodulesUnchanged(const Repository& repository,
                                      const std::vector<TrackedFile>& tracked);

// failed_precondition naming the first submodule whose commit in HEAD no remote of its has, as far
// as its clone knows. What is not checked out is taken as published.
Result<void> CheckSubmodulesPublished(const Repository& repository);

}  // namespace cleanroom::workspace
