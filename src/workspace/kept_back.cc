#include "workspace/kept_back.h"

namespace cleanroom::workspace {

// git tells which *tracked* files match patterns without looking at any other, so it is given an
// index in which the paths, and nothing else, are tracked. The blob they have there is never read.
Result<std::unordered_set<std::string>> KeptBack(const Repository& repository,
                                                 const std::vector<std::string>& paths,
                                                 const std::string& scratch) {
  if (paths.empty()) return std::unordered_set<std::string>();
  const std::string nothing(repository.object_format == "sha256" ? 63 : 39, '0');
  GitCall call{.env = {"GIT_INDEX_FILE=" + scratch + "/kept-back-index"}};
  for (const std::string& path : paths) {
    call.input += "100644 " + nothing + "1\t";
    call.input.append(path).push_back('\0');
  }
  CR_TRY(repository.git->Read({"update-index", "-z", "--replace", "--index-info"}, call));
  call.input.clear();
  CR_TRY_ASSIGN(const auto kept,
                repository.git->ReadNames({"ls-files", "--cached", "--ignored", "-z",
                                           "--exclude-per-directory=.cleanroomignore"},
                                          call));
  return std::unordered_set<std::string>(kept.begin(), kept.end());
}

}  // namespace cleanroom::workspace
