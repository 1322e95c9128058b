#include "workspace/commit_policy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "os/file.h"

namespace cleanroom::workspace {
namespace {

using MaybeText = std::optional<std::string>;
using ReadFn = std::function<Result<MaybeText>(const std::string& path)>;

Result<std::optional<RepositoryPolicy>> FindBy(const ReadFn& read, const std::string& prefix) {
  std::vector<std::string> folders = {prefix};
  if (!prefix.empty()) folders.emplace_back();
  for (const std::string& folder : folders) {
    const std::string first = folder + "cleanroom.yaml",
                      second = folder + ".buildkite/cleanroom.yaml";
    CR_TRY_ASSIGN(MaybeText text, read(first));
    CR_TRY_ASSIGN(MaybeText other, read(second));
    if (text) {
      return RepositoryPolicy{
          .text = *std::move(text),
          .path = first,
          .source = {},
          .warning = other ? fmt::format("{} is used; {} is ignored", first, second) : ""};
    }
    if (other)
      return RepositoryPolicy{
          .text = *std::move(other), .path = second, .source = {}, .warning = {}};
  }
  return std::nullopt;
}

Error NoPolicyFile(const std::string& path, std::string_view what) {
  return Error(ErrorCode::kFailedPrecondition, fmt::format("{} is {}, not a file", path, what))
      .About(SubjectKind::kPolicy, path)
      .Remedy("Put the policy into a file of the repository's own");
}

Error TooLarge(const std::string& path) {
  return Error(ErrorCode::kResourceExhausted,
               fmt::format("{} has more than {} bytes", path, kMaxPolicyBytes))
      .About(SubjectKind::kPolicy, path);
}

Result<MaybeText> ReadBlob(const Git& git, const std::string& commit, const std::string& path) {
  CR_TRY_ASSIGN(const auto lines, git.ReadNames({"--literal-pathspecs", "ls-tree", "--full-tree",
                                                 "-l", "-z", commit, "--", path}));
  if (lines.empty()) return MaybeText();
  const std::string& line = lines[0];  // "100644 blob ID    SIZE\tPATH"
  if (line.starts_with("120000 ")) return Err(NoPolicyFile(path, "a symbolic link"));
  if (!line.starts_with("100")) return MaybeText();
  const std::string head = line.substr(0, line.find('\t'));
  const std::string id = head.substr(12, head.find(' ', 12) - 12);
  const std::string size = head.substr(head.rfind(' ') + 1);
  if (size.size() > 7 || std::stoul("0" + size) > kMaxPolicyBytes) return Err(TooLarge(path));
  CR_TRY_ASSIGN(auto text, git.Read({"cat-file", "blob", id}));
  return MaybeText(std::move(text));
}

Result<MaybeText> ReadWorkFile(const std::string& top, const std::string& path) {
  const std::string full = top + "/" + path;
  struct stat info = {};
  if (lstat(full.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return MaybeText();
    return ErrErrno(os::CodeForErrno(errno), full);
  }
  if (S_ISLNK(info.st_mode)) return Err(NoPolicyFile(full, "a symbolic link"));
  if (!S_ISREG(info.st_mode)) return MaybeText();
  if (static_cast<uint64_t>(info.st_size) > kMaxPolicyBytes) return Err(TooLarge(full));
  CR_TRY_ASSIGN(auto text, os::ReadFile(full, kMaxPolicyBytes));
  return MaybeText(std::move(text));
}

// As git may keep it: a checkout can have turned the ends of lines.
std::string WithoutReturns(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') out += text[i];
  }
  return out;
}

bool Same(const std::optional<RepositoryPolicy>& a, const std::optional<RepositoryPolicy>& b) {
  if (!a || !b) return !a && !b;
  return a->path == b->path && WithoutReturns(a->text) == WithoutReturns(b->text);
}

}  // namespace

Result<std::optional<RepositoryPolicy>> ReadPolicyAtCommit(const Repository& repository) {
  CR_TRY_ASSIGN(auto found, FindBy(
                                [&repository](const std::string& path) {
                                  return ReadBlob(*repository.git, repository.commit, path);
                                },
                                repository.prefix));
  if (found)
    found->source = fmt::format("{} at commit {}", found->path, repository.commit.substr(0, 12));
  return found;
}

Result<std::optional<RepositoryPolicy>> ReadPolicyInWorkTree(const Repository& repository) {
  CR_TRY_ASSIGN(
      auto found,
      FindBy([&repository](const std::string& path) { return ReadWorkFile(repository.top, path); },
             repository.prefix));
  if (found) found->source = repository.top + "/" + found->path;
  return found;
}

Result<PolicyChoice> ChoosePolicy(const Repository& repository, LocalChanges changes) {
  PolicyChoice choice;
  if (changes == LocalChanges::kTravel) {
    CR_TRY_ASSIGN(choice.policy, ReadPolicyInWorkTree(repository));
    return choice;
  }
  CR_TRY_ASSIGN(choice.policy, ReadPolicyAtCommit(repository));
  // What is wrong with a file that does not count is nobody's business yet.
  const auto local = ReadPolicyInWorkTree(repository);
  if (local && !Same(choice.policy, *local)) {
    choice.difference = fmt::format(
        "The policy is {}; your work tree's {}; commit it, or pass --copy-in to go by the work "
        "tree",
        choice.policy ? choice.policy->source : "none, for the commit has none",
        *local ? (*local)->path + " is another" : "has none");
  }
  return choice;
}

}  // namespace cleanroom::workspace
