#include "workspace/kept_back.h"

#include <fmt/format.h>

#include <string_view>

#include "base/printable.h"
#include "workspace/index_entries.h"

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

// git looks through its whole index for each path that it is asked about, so it is told to leave the
// index alone, and asked about no path that is in there.
Result<std::unordered_set<std::string>> Ignored(const Repository& repository,
                                                const std::vector<std::string>& paths) {
  std::unordered_set<std::string> out;
  if (paths.empty()) return out;
  CR_TRY_ASSIGN(const auto tracked, ReadIndex(*repository.git));
  std::unordered_set<std::string_view> names;
  for (const TrackedFile& file : tracked) names.insert(file.path);
  // With "./", no name is taken for one of git's patterns (":(top)x").
  GitCall call;
  for (const std::string& path : paths) {
    if (!names.contains(path)) call.input.append("./").append(path).push_back('\0');
  }
  if (call.input.empty()) return out;
  CR_TRY_ASSIGN(const auto said,
                repository.git->Try({"check-ignore", "--no-index", "-z", "--stdin"}, call));
  // 1: none of them is.
  if (said.status.value > 1 || said.status.kind != os::ExitStatus::Kind::kExited) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("git cannot say what {} ignores: {}", repository.top,
                           EscapeUnprintable(said.err)));
  }
  for (const std::string& name : SplitNames(said.out)) out.insert(name.substr(2));
  return out;
}

}  // namespace cleanroom::workspace
