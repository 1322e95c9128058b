#include "git/mirror.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "git/ref_name.h"
#include "os/file.h"

namespace cleanroom::git {
namespace {

constexpr size_t kMaxRefsBytes = 64u << 20;
constexpr size_t kMaxLinkBytes = 4096;

std::vector<std::string_view> Lines(std::string_view text, char end = '\n') {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t at = std::min(text.find(end), text.size());
    if (at > 0) out.push_back(text.substr(0, at));
    text.remove_prefix(std::min(at + 1, text.size()));
  }
  return out;
}

// Where a link at `path` leads, from the repository's root; nothing when that is out of it.
std::optional<std::string> Target(std::string_view path, std::string_view link) {
  if (link.empty() || link.starts_with('/') || link.find('\0') != std::string_view::npos) return {};
  std::vector<std::string_view> parts = Lines(path, '/');
  parts.pop_back();
  for (const std::string_view part : Lines(link, '/')) {
    if (part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return {};
    } else {
      parts.pop_back();
    }
  }
  if (parts.empty()) return {};
  return fmt::format("{}", fmt::join(parts, "/"));
}

}  // namespace

bool Mirror::Exists() const {
  std::error_code error;
  return std::filesystem::exists(path_ / "HEAD", error);
}

Result<std::optional<std::string>> Mirror::FindCommit(const std::string& id,
                                                      const Control& control) const {
  if (!IsFullId(id))
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is no full id of a commit", id));
  CR_TRY_ASSIGN(const Git::Answer answer,
                git_.LocalAnswer({.args = {"rev-parse", "--verify", "--quiet", "--end-of-options",
                                           id + "^{commit}"},
                                  .git_dir = path_},
                                 control));
  if (!answer.status.ok() || answer.out.empty()) return std::nullopt;
  std::string commit = answer.out.substr(0, answer.out.find('\n'));
  if (!IsFullId(commit)) return std::nullopt;
  return commit;
}

Result<std::optional<std::string>> Mirror::FindRef(const std::string& name,
                                                   const Control& control) const {
  if (!IsRefName(name))
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is no name of a ref", name));
  CR_TRY_ASSIGN(const Git::Answer answer,
                git_.LocalAnswer({.args = {"rev-parse", "--verify", "--quiet", "--end-of-options",
                                           name + "^{commit}"},
                                  .git_dir = path_},
                                 control));
  if (!answer.status.ok() || answer.out.empty()) return std::nullopt;
  return answer.out.substr(0, answer.out.find('\n'));
}

Result<std::optional<std::string>> Mirror::FindAbbreviated(const std::string& id,
                                                           const Control& control) const {
  if (!IsAbbreviatedId(id))
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is no id of a commit", id));
  // By id alone: a branch may have a name that looks like one.
  CR_TRY_ASSIGN(
      const std::string all,
      git_.Local({.args = {"rev-parse", "--disambiguate=" + id}, .git_dir = path_}, control));
  if (all.empty()) return std::nullopt;
  CR_TRY_ASSIGN(const std::string types,
                git_.Local({.args = {"cat-file", "--batch-check=%(objecttype) %(objectname)"},
                            .git_dir = path_,
                            .input = all},
                           control));
  std::vector<std::string> commits;
  for (const std::string_view line : Lines(types)) {
    if (line.starts_with("commit ")) commits.emplace_back(line.substr(7));
  }
  if (commits.empty()) return std::nullopt;
  if (commits.size() > 1) {
    return Err(Error(ErrorCode::kInvalidArgument,
                     fmt::format("{} commits have an id that begins with {}", commits.size(), id))
                   .Remedy("Give more digits of the id"));
  }
  return commits.front();
}

Result<std::vector<Ref>> Mirror::Refs(const Control& control) const {
  CR_TRY_ASSIGN(const Git::Answer answer,
                git_.LocalAnswer({.args = {"show-ref", "--dereference", "--heads", "--tags"},
                                  .git_dir = path_,
                                  .max_output = kMaxRefsBytes},
                                 control));
  std::vector<Ref> out;  // an empty repository is an exit code other than 0
  for (const std::string_view line : Lines(answer.out)) {
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || !IsFullId(line.substr(0, space))) continue;
    const std::string_view id = line.substr(0, space);
    std::string_view name = line.substr(space + 1);
    if (name.ends_with("^{}")) {
      name.remove_suffix(3);
      if (!out.empty() && out.back().name == name) out.back().peeled = id;
    } else if (IsRefName(name)) {
      out.push_back({std::string(name), std::string(id), {}});
    }
  }
  std::ranges::sort(out, {}, &Ref::name);
  return out;
}

std::string Mirror::DefaultBranch() const {
  const Result<std::string> head = os::ReadFile(path_ / "HEAD", 4096);
  constexpr std::string_view kPrefix = "ref: refs/heads/";
  if (!head || !head->starts_with(kPrefix)) return {};
  std::string name = head->substr(kPrefix.size());
  while (name.ends_with('\n')) name.pop_back();
  return IsBranchName(name) ? name : std::string();
}

Result<std::string> Mirror::ObjectFormat(const Control& control) const {
  CR_TRY_ASSIGN(
      std::string format,
      git_.Local({.args = {"rev-parse", "--show-object-format"}, .git_dir = path_}, control));
  while (format.ends_with('\n')) format.pop_back();
  if (format != "sha1" && format != "sha256")
    return Err(ErrorCode::kUnimplemented, "the repository has an unknown object format");
  return format;
}

Result<std::optional<Mirror::Entry>> Mirror::FindEntry(const std::string& commit,
                                                       const std::string& path,
                                                       const Control& control) const {
  CR_TRY_ASSIGN(
      const std::string listed,
      git_.Local({.args = {"ls-tree", "-z", "--full-tree", "--end-of-options", commit, "--", path},
                  .git_dir = path_},
                 control));
  for (const std::string_view line : Lines(listed, '\0')) {
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos || line.substr(tab + 1) != path) continue;
    const std::vector<std::string_view> words = Lines(line.substr(0, tab), ' ');
    if (words.size() != 3 || words[1] != "blob") return std::nullopt;
    return Entry{std::string(words[0]), std::string(words[2])};
  }
  return std::nullopt;
}

Result<std::optional<std::string>> Mirror::ReadFile(const std::string& commit,
                                                    const std::string& path, size_t max_bytes,
                                                    const Control& control) const {
  if (!IsFullId(commit)) return Err(ErrorCode::kInvalidArgument, "not a full id of a commit");
  CR_TRY_ASSIGN(std::optional<Entry> entry, FindEntry(commit, path, control));
  if (!entry) return std::nullopt;
  const auto content = [&](const Entry& of, size_t limit) {
    return git_.Local({.args = {"cat-file", "blob", "--end-of-options", of.id},
                       .git_dir = path_,
                       .max_output = limit},
                      control);
  };
  if (entry->mode == "120000") {
    CR_TRY_ASSIGN(const std::string link, content(*entry, kMaxLinkBytes));
    const std::optional<std::string> target = Target(path, link);
    if (target) {
      CR_TRY_ASSIGN(entry, FindEntry(commit, *target, control));
    }
    if (!target || !entry || entry->mode == "120000") {
      return Err(ErrorCode::kFailedPrecondition,
                 fmt::format("{} at {} is a symbolic link that does not lead to a file of the "
                             "repository at once",
                             path, commit.substr(0, 12)));
    }
  }
  Result<std::string> text = content(*entry, max_bytes);
  if (!text) {
    return Err(
        std::move(text).error().Context(fmt::format("{} at {}", path, commit.substr(0, 12))));
  }
  return std::move(*text);
}

}  // namespace cleanroom::git
