#include "repository/git_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace cleanroom::repository {
namespace {

constexpr std::string_view kBranches = "refs/heads/";

// A value of git-config(1). Control characters are in none that is checked before it comes here.
std::string Quoted(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::string HeadText(const GitFolder& of) {
  return of.branch.empty() ? of.commit + "\n" : fmt::format("ref: refs/heads/{}\n", of.branch);
}

std::string ConfigText(const GitFolder& of, const std::vector<git::Ref>& mirror_refs) {
  const bool sha256 = of.object_format == "sha256";
  std::string out = fmt::format(
      "[core]\n\trepositoryformatversion = {}\n\tfilemode = true\n\tbare = false\n"
      "\tlogallrefupdates = true\n",
      sha256 ? 1 : 0);
  if (!of.work_tree.empty()) out += fmt::format("\tworktree = {}\n", Quoted(of.work_tree));
  if (sha256) out += "[extensions]\n\tobjectFormat = sha256\n";
  out += fmt::format(
      "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
      Quoted(of.origin));
  const std::string branch = fmt::format("{}{}", kBranches, of.branch);
  if (!of.branch.empty() &&
      std::ranges::find(mirror_refs, branch, &git::Ref::name) != mirror_refs.end()) {
    out += fmt::format("[branch {}]\n\tremote = origin\n\tmerge = {}\n", Quoted(of.branch),
                       Quoted(branch));
  }
  for (const GitFolder::Submodule& one : of.submodules) {
    out += fmt::format("[submodule {}]\n\tactive = true\n\turl = {}\n", Quoted(one.name),
                       Quoted(one.url));
  }
  return out;
}

std::string PackedRefsText(const GitFolder& of, const std::vector<git::Ref>& mirror_refs) {
  std::map<std::string, std::pair<std::string_view, std::string_view>> refs;  // id, peeled
  for (const git::Ref& ref : mirror_refs) {
    const std::string name =
        ref.name.starts_with(kBranches)
            ? fmt::format("refs/remotes/origin/{}", ref.name.substr(kBranches.size()))
            : ref.name;
    // The remote's HEAD is a file of its own.
    if (name != "refs/remotes/origin/HEAD") refs[name] = {ref.id, ref.peeled};
  }
  if (!of.branch.empty()) refs["refs/heads/" + of.branch] = {of.commit, {}};
  std::string out = "# pack-refs with: peeled fully-peeled sorted \n";
  for (const auto& [name, ids] : refs) {
    out += fmt::format("{} {}\n", ids.first, name);
    if (!ids.second.empty()) out += fmt::format("^{}\n", ids.second);
  }
  return out;
}

bool IsGitName(std::string_view component) {
  std::string lower;
  for (const char c : component) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  while (lower.ends_with(' ') || lower.ends_with('.')) lower.pop_back();
  return lower == ".git" || lower == "git~1" || lower.starts_with(".git:");
}

}  // namespace cleanroom::repository
