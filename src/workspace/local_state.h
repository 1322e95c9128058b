// LocalState: the user's side of what copy-out compares: what lies at the paths that a sandbox
// names, which of them travel at all, and what the baseline had there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"
#include "workspace/beneath.h"
#include "workspace/change_set.h"
#include "workspace/incoming.h"
#include "workspace/repository.h"

namespace cleanroom::workspace {

struct FileState {
  std::string mode, id;
  bool operator==(const FileState&) const = default;
};

class LocalState {
 public:
  // Of all paths of `incoming`.
  static Result<LocalState> Read(const Repository& repository, const std::string& base_commit,
                                 const std::vector<ChangedFile>& manifest,
                                 const Incoming& incoming);

  int top() const { return top_.get(); }
  const Look& SeenAt(const std::string& path) const { return looks_.at(path); }
  // Of a file or link, as git would record it.
  std::optional<FileState> At(const std::string& path) const { return Find(files_, path); }
  std::optional<FileState> BaselineAt(const std::string& path) const {
    return Find(baseline_, path);
  }
  // Why the path does not travel.
  std::optional<std::string_view> WhyNotTravelling(const std::string& path) const;
  // Whether the local file has the contents and the mode of `file`, whatever git makes of them.
  Result<bool> HasContentsOf(const IncomingFile& file) const;

 private:
  using States = std::unordered_map<std::string, FileState>;
  static std::optional<FileState> Find(const States& states, const std::string& path);
  Result<void> ReadBaseline(const std::string& commit, const std::vector<ChangedFile>& manifest);
  Result<void> LookAt(const std::vector<std::string>& paths);
  Result<void> ReadRules(const std::vector<std::string>& paths);
  Result<void> ReadFiles(const std::vector<std::string>& paths);

  const Repository* repository_ = nullptr;
  os::UniqueFd top_;
  States baseline_, files_;
  std::unordered_map<std::string, Look> looks_;
  std::unordered_set<std::string> ignored_, kept_back_, submodules_;
};

}  // namespace cleanroom::workspace
