// CopyPlan: what copy-out would do to the user's work tree, path by path, with the reasons. Made
// without writing anything; copy_apply carries it out.
//
// The set: files that git tracks or would track. Ignored files never travel, nor are they removed;
// git decides what is ignored, by the rules that the user's work tree has (not the sandbox's), and
// .cleanroomignore holds in this direction too. A file that both sides changed since the baseline is
// a conflict, and so is whatever the user has in the way. Then nothing is written at all, unless
// forced: the sandbox's state then wins where a file stands against a file. What force does not do:
// follow a link, remove a folder, or cross into another file system.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "workspace/beneath.h"
#include "workspace/change_set.h"
#include "workspace/incoming.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

// What the sandbox's work tree was before anything ran: a commit, and the local changes that went
// in with it (ChangeSet::files, as the binding keeps them).
struct Baseline {
  std::string commit;
  std::vector<ChangedFile> manifest;
};

enum class Action {
  kWrite,
  kDelete,
  kNothing,   // it is so already, or the sandbox did not change it
  kSkip,      // it does not travel
  kConflict,  // why nothing is written
};
std::string_view ToString(Action action);  // "write", "delete", "nothing", "skip", "conflict"

struct PlannedPath {
  std::string path;  // the sandbox's spelling: to be escaped before it is shown
  Action action = Action::kNothing;
  std::string reason{};
  std::string warning{};  // what else this change does: to git, to the next sandbox's policy
  Look seen{};            // of the user's file, when this was decided
  const IncomingFile* file = nullptr;  // of the Incoming, where it is to be written
};

enum class Force { kNo, kYes };

struct CopyPlan {
  std::string top;
  std::vector<PlannedPath> paths;  // by path; refused ones of the sandbox's come last
  size_t CountOf(Action action) const;
};

// `incoming` outlives the plan. failed_precondition where the repository's HEAD is not the
// baseline's commit (unless forced), or does not have it.
Result<CopyPlan> PlanCopyOut(const Repository& repository, const Baseline& baseline,
                             const Incoming& incoming, Force force);

}  // namespace cleanroom::workspace
