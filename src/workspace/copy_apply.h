// Carries out a CopyPlan.
//
// Everything is unpacked first, into a folder below the top that git ignores and that goes away
// again; then every path is looked at once more; only then is anything of the user's replaced, each
// file by a rename. So a full disk, a damaged tar or a change in the meantime leave the work tree as
// it was. Folders that deletions empty go too, as they do with git.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "workspace/copy_plan.h"

namespace cleanroom::workspace {

struct Copied {
  size_t written = 0;
  size_t deleted = 0;
};

// `tar`: a regular file with what ReadIncoming read, at any offset.
//
// failed_precondition, listing them, when the plan has conflicts, or naming a path that has changed
// since; resource_exhausted when the disk has too little room; data_corrupt when the tar is another
// one: then nothing is written. An error after that says how much was.
Result<Copied> ApplyCopyOut(const CopyPlan& plan, int tar);

}  // namespace cleanroom::workspace
