// Binding: where a sandbox's work tree came from, as the client remembers it: for copy-out to find
// the way back. One JSON file per sandbox in the user's state folder, readable by the user only; the
// daemon knows nothing of it.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "workspace/copy_plan.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

struct Binding {
  std::string sandbox_id;
  std::string local_root;       // top of the user's work tree
  std::string remote_identity;  // RemoteUrl::Identity
  std::string object_format;
  std::string sandbox_root;  // in the sandbox, absolute
  std::chrono::sys_seconds made;
  Baseline baseline;
};

class BindingStore {
 public:
  static constexpr std::chrono::days kKept{30};

  // `state_dir`: Paths::state_dir of the config; bindings are in its folder "workspaces".
  explicit BindingStore(std::string state_dir) : folder_(std::move(state_dir) + "/workspaces") {}

  // Replaces an older one. invalid_argument for what is no sandbox id; resource_exhausted for more
  // than 64 MiB.
  Result<void> Save(const Binding& binding) const;
  // Nothing when there is none; data_corrupt, naming the file, when it is no binding of ours.
  Result<std::optional<Binding>> Load(const std::string& sandbox_id) const;
  Result<void> Remove(const std::string& sandbox_id) const;
  // Removes what is older than kKept. What cannot be removed stays.
  void RemoveOld(std::chrono::sys_seconds now) const;

 private:
  Result<std::string> PathOf(const std::string& sandbox_id) const;
  std::string folder_;
};

// What the daemon says of the sandbox that is copied out of.
struct SandboxOrigin {
  std::string remote_identity;
  std::string commit;
};

struct CopyTarget {
  Repository repository;
  Baseline baseline;
};

// Where copy-out writes: the bound work tree; else the one that `folder` is in, where it is of the
// same remote and at the same commit. failed_precondition, with what differs, where neither is
// certain.
Result<CopyTarget> ChooseCopyTarget(const std::optional<Binding>& binding,
                                    const SandboxOrigin& origin, const std::string& remote_name,
                                    const std::string& folder);

}  // namespace cleanroom::workspace
