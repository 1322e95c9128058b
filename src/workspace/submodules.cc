#include "workspace/submodules.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

namespace cleanroom::workspace {
namespace {

namespace fs = std::filesystem;
constexpr int kMaxDepth = 8;

Error RefusedSubmodule(std::string message, const std::string& folder, std::string remedy) {
  return Error(ErrorCode::kFailedPrecondition, std::move(message))
      .About(SubjectKind::kFile, folder)
      .Remedy(std::move(remedy));
}

// git in the submodule; nothing where it is not checked out. Its config is as foreign as the
// repository's, so it may not send us elsewhere either.
Result<std::optional<Git>> OpenSubmodule(const std::string& folder) {
  std::error_code error;
  if (fs::symlink_status(folder, error).type() != fs::file_type::directory) return std::nullopt;
  if (fs::symlink_status(folder + "/.git", error).type() == fs::file_type::not_found)
    return std::nullopt;
  CR_TRY_ASSIGN(Git git, Git::Open(folder));
  CR_TRY_ASSIGN(const auto top, git.ReadLine({"rev-parse", "--show-toplevel"}));
  if (!fs::equivalent(top, folder, error)) {
    return Err(RefusedSubmodule(
        fmt::format("the submodule at {} says that its work tree is elsewhere", folder), folder,
        "Set the submodule up again, with: git submodule update --init"));
  }
  return git;
}

Result<void> CheckUnchanged(const std::string& top, const std::vector<TrackedFile>& tracked,
                            int depth) {
  for (const TrackedFile& file : tracked) {
    if (file.mode != kModeSubmodule) continue;
    const std::string folder = top + "/" + file.path;
    CR_TRY_ASSIGN(const auto git, OpenSubmodule(folder));
    if (!git) continue;
    if (depth == kMaxDepth)
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("{}: submodules nest too deep", folder));
    CR_TRY_ASSIGN(const auto head, git->Try({"rev-parse", "--verify", "--quiet", "HEAD"}));
    if (head.out != file.id + "\n") {
      return Err(RefusedSubmodule(
          fmt::format("the submodule {} is at another commit than the repository has "
                      "for it: changes of submodules do not travel",
                      file.path),
          folder, "Commit its new state and push it, or run: git submodule update"));
    }
    CR_TRY_ASSIGN(const auto status,
                  git->Read({"status", "--porcelain", "-z", "--no-renames",
                             "--untracked-files=normal", "--ignore-submodules=all"}));
    if (!status.empty()) {
      return Err(RefusedSubmodule(
          fmt::format("the submodule {} has local changes: they do not travel", file.path), folder,
          "Commit and push them in the submodule, or put them away with: git "
          "stash -u"));
    }
    CR_TRY_ASSIGN(const auto nested, ReadIndex(*git));
    CR_TRY(CheckUnchanged(folder, nested, depth + 1));
  }
  return {};
}

}  // namespace

Result<void> CheckSubmodulesUnchanged(const Repository& repository,
                                      const std::vector<TrackedFile>& tracked) {
  return CheckUnchanged(repository.top, tracked, 0);
}

Result<void> CheckSubmodulesPublished(const Repository& repository) {
  CR_TRY_ASSIGN(const auto tracked, ReadTree(*repository.git, repository.commit));
  for (const auto& [path, file] : tracked) {
    if (file.mode != kModeSubmodule) continue;
    const std::string folder = repository.top + "/" + path;
    CR_TRY_ASSIGN(const auto git, OpenSubmodule(folder));
    if (!git) continue;
    CR_TRY_ASSIGN(const auto there, git->Try({"cat-file", "-e", file.id + "^{commit}"}));
    if (!there.status.ok()) continue;
    CR_TRY_ASSIGN(const auto local,
                  git->ReadLine({"rev-list", "--max-count=1", file.id, "--not", "--remotes"}));
    if (local.empty()) continue;
    return Err(RefusedSubmodule(
        fmt::format("commit {} of the submodule {} is on no remote, as far as its clone knows",
                    file.id.substr(0, 12), path),
        folder, "Push it, in the submodule's folder"));
  }
  return {};
}

}  // namespace cleanroom::workspace
