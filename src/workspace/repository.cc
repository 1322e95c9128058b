#include "workspace/repository.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "base/printable.h"

namespace cleanroom::workspace {
namespace {

namespace fs = std::filesystem;

Error NoWorkTree(std::string message, const std::string& path) {
  return Error(ErrorCode::kFailedPrecondition, std::move(message)).About(SubjectKind::kFile, path);
}

// The nearest folder upwards with a .git, be it a folder or a file.
Result<fs::path> FindTop(const std::string& folder) {
  std::error_code error;
  const fs::path start = fs::canonical(folder, error);
  if (error) return Err(Error::FromErrno(ErrorCode::kNotFound, error.value(), folder));
  for (fs::path at = start;; at = at.parent_path()) {
    if (at.filename() == ".git") {
      return Err(NoWorkTree(fmt::format("{} is inside of a .git folder", folder), folder)
                     .Remedy("Run it in the work tree"));
    }
    if (fs::symlink_status(at / ".git", error).type() != fs::file_type::not_found) return at;
    const bool bare = fs::exists(at / "HEAD", error) && fs::is_directory(at / "objects", error) &&
                      fs::is_directory(at / "refs", error);
    if (bare) {
      return Err(
          NoWorkTree(fmt::format("{} is a bare repository: it has no work tree", at.string()),
                     at.string())
              .Remedy("Run it in a clone with a work tree"));
    }
    if (at == at.parent_path()) break;
  }
  return Err(NoWorkTree(fmt::format("{} is in no git repository", start.string()), start.string()));
}

// A repository's config can put its work tree anywhere ("core.worktree"): then a folder that came
// with a stranger's archive could have the user's home sent off.
Result<void> CheckTop(const Git& git, bool bare, const std::string& top) {
  if (bare) {
    return Err(NoWorkTree(fmt::format("{} is the work tree of a bare repository", top), top)
                   .Remedy("Set core.bare to false in its config, or run it in another clone"));
  }
  CR_TRY_ASSIGN(const auto says, git.ReadLine({"rev-parse", "--show-toplevel"}));
  std::error_code error;
  if (fs::equivalent(says, top, error)) return {};
  return Err(NoWorkTree(fmt::format("the repository at {} says that its work tree is {}", top,
                                    EscapeUnprintable(says)),
                        top)
                 .Remedy("Unset core.worktree in its config, if it is yours"));
}

Result<void> ReadHead(const Git& git, Repository& out) {
  CR_TRY_ASSIGN(const auto head, git.Try({"rev-parse", "--verify", "--quiet", "HEAD^{commit}"}));
  if (!head.status.ok()) {
    return Err(NoWorkTree(fmt::format("the repository at {} has no commit yet", out.top), out.top)
                   .Remedy("Commit first: a sandbox begins with a commit"));
  }
  out.commit = head.out.substr(0, head.out.find('\n'));
  CR_TRY_ASSIGN(const auto ref, git.Try({"symbolic-ref", "--quiet", "HEAD"}));
  constexpr std::string_view kHeads = "refs/heads/";
  std::string_view name = ref.out;
  if (name.ends_with('\n')) name.remove_suffix(1);
  if (ref.status.ok() && name.starts_with(kHeads)) out.branch = name.substr(kHeads.size());
  return {};
}

}  // namespace

Result<Repository> Discover(const std::string& folder) {
  Repository out;
  CR_TRY_ASSIGN(const fs::path top, FindTop(folder));
  out.top = top.string();
  std::error_code error;
  const fs::path inside = fs::canonical(folder, error).lexically_relative(top);
  if (inside != ".") out.prefix = inside.string() + "/";

  CR_TRY_ASSIGN(Git git, Git::Open(out.top));
  CR_TRY_ASSIGN(const auto facts,
                git.ReadLine({"rev-parse", "--is-bare-repository", "--show-object-format"}));
  CR_TRY(CheckTop(git, facts.starts_with("true"), out.top));
  out.object_format = facts.substr(facts.rfind('\n') + 1);
  CR_TRY(ReadHead(git, out));
  out.git = std::make_shared<const Git>(std::move(git));
  return out;
}

Result<Remote> FindRemote(const Repository& repository, const std::string& wanted) {
  const Git& git = *repository.git;
  const std::vector<std::string> names = git.Subsections("remote", "url");
  Remote out;
  if (IsRemoteUrl(wanted)) {
    CR_TRY_ASSIGN(out.url, RemoteUrl::Parse(wanted));
    for (const std::string& name : names) {
      const auto url = RemoteUrl::Parse(*git.Config("remote." + name + ".url"));
      if (url && url->Identity() == out.url.Identity()) out.name = name;
    }
    return out;
  }
  if (std::ranges::find(names, wanted) == names.end() || wanted.starts_with('-')) {
    Error error(
        ErrorCode::kNotFound,
        fmt::format(
            "the repository at {} has no remote '{}'; it has {}", repository.top, wanted,
            names.empty() ? "none" : EscapeUnprintable(fmt::format("{}", fmt::join(names, ", ")))));
    return Err(std::move(error)
                   .About(SubjectKind::kFile, repository.top)
                   .Remedy("Name another in the policy (repository.remote), or add it with: git "
                           "remote add"));
  }
  out.name = wanted;
  CR_TRY_ASSIGN(const auto url, git.ReadLine({"remote", "get-url", wanted}));
  auto parsed = RemoteUrl::Parse(url);
  if (!parsed) return Err(std::move(parsed).error().Context(fmt::format("remote '{}'", wanted)));
  out.url = *std::move(parsed);
  return out;
}

std::vector<std::string> RefsOf(const Remote& remote) {
  if (remote.name.empty()) return {};
  // A glob, to git; a remote's name has no such characters of its own unless somebody wrote them
  // into the config, and then they name nothing.
  if (remote.name.find_first_of("*?[\\") != std::string::npos) return {};
  return {"--remotes=" + remote.name};
}

Result<Upstream> IsUpstream(const Repository& repository, const Remote& remote,
                            const std::string& commit) {
  const auto refs = RefsOf(remote);
  if (refs.empty()) return Upstream::kUnknown;
  std::vector<std::string> args = {"rev-list", "--max-count=1", commit, "--not"};
  args.insert(args.end(), refs.begin(), refs.end());
  CR_TRY_ASSIGN(const auto missing, repository.git->ReadLine(args));
  return missing.empty() ? Upstream::kHasIt : Upstream::kUnknown;
}

Result<void> CheckHasCommit(const Repository& repository, const std::string& commit) {
  CR_TRY_ASSIGN(const auto found, repository.git->Try({"rev-parse", "--verify", "--quiet",
                                                       "--end-of-options", commit + "^{commit}"}));
  if (found.status.ok()) return {};
  return Err(Error(ErrorCode::kFailedPrecondition,
                   fmt::format("the repository at {} does not have commit {}, with which the "
                               "sandbox began",
                               repository.top, EscapeUnprintable(commit)))
                 .About(SubjectKind::kFile, repository.top)
                 .Remedy("Fetch it, or run it in the repository that the sandbox was made from"));
}

Result<WorkTree> LookAtWorkTree(const Repository& repository) {
  CR_TRY_ASSIGN(const auto status,
                repository.git->Read({"status", "--porcelain", "-z", "--no-renames",
                                      "--untracked-files=normal", "--ignore-submodules=dirty"}));
  return status.empty() ? WorkTree::kClean : WorkTree::kDirty;
}

}  // namespace cleanroom::workspace
