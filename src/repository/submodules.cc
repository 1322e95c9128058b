#include "repository/submodules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "archive/byte_source.h"
#include "base/printable.h"
#include "git/ref_name.h"
#include "git/relative_url.h"
#include "repository/modules_file.h"

namespace cleanroom::repository {
namespace {

constexpr std::string_view kModulesFile = ".gitmodules";
constexpr size_t kMaxEntry = 64 << 10;  // of a tree's listing

// What of a tree concerns submodules.
struct TreeLinks {
  std::map<std::string, std::string> commits;  // of each submodule, by its path
  std::string modules_file;                    // the id of the blob; empty: none
};

// One entry of `git ls-tree -r -z`: "MODE TYPE ID\tPATH".
Result<void> TakeEntry(std::string_view entry, TreeLinks& out) {
  const size_t tab = entry.find('\t');
  const size_t space = entry.find(' ', entry.find(' ') + 1);
  if (tab == std::string_view::npos || space > tab)
    return Err(ErrorCode::kDataCorrupt, "git's list of a tree has a strange line");
  const std::string_view mode = entry.substr(0, entry.find(' ')), path = entry.substr(tab + 1);
  std::string id(entry.substr(space + 1, tab - space - 1));
  if (mode == "160000") {
    if (out.commits.size() == kMaxModules) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the commit has more than {} submodules", kMaxModules));
    }
    if (!git::IsFullId(id)) return Err(ErrorCode::kDataCorrupt, "a submodule's commit has no id");
    out.commits.emplace(path, std::move(id));
  } else if (path == kModulesFile) {
    if (!mode.starts_with("100"))
      return Err(ErrorCode::kDataCorrupt, ".gitmodules is no file in the commit");
    out.modules_file = std::move(id);
  }
  return {};
}

Result<TreeLinks> ReadLinks(const git::Mirror& source, const std::string& commit,
                            const git::Control& control) {
  CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> listing,
                source.git().LocalStream(
                    {.args = {"ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit},
                     .git_dir = source.path()},
                    control));
  TreeLinks out;
  std::string pending;
  std::vector<uint8_t> buffer(64 << 10);
  for (;;) {
    CR_TRY_ASSIGN(const size_t n, listing->Read(buffer));
    if (n == 0) break;
    pending.append(reinterpret_cast<const char*>(buffer.data()), n);
    size_t begin = 0;
    for (size_t end; (end = pending.find('\0', begin)) != std::string::npos; begin = end + 1)
      CR_TRY(TakeEntry(std::string_view(pending).substr(begin, end - begin), out));
    pending.erase(0, begin);
    if (pending.size() > kMaxEntry)
      return Err(ErrorCode::kDataCorrupt, "the commit has a path that is too long");
  }
  return out;
}

Result<std::vector<Module>> ReadModules(const git::Mirror& source, const std::string& blob,
                                        const git::Control& control) {
  if (blob.empty()) return std::vector<Module>();
  CR_TRY_ASSIGN(
      const std::string text,
      source.git().Local({.args = {"cat-file", "-s", blob}, .git_dir = source.path()}, control));
  uint64_t size = kMaxModulesFile + 1;
  std::from_chars(text.data(), text.data() + text.size(), size);
  if (size > kMaxModulesFile) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format(".gitmodules is larger than {} bytes", kMaxModulesFile));
  }
  auto listing =
      source.git().Local({.args = {"config", "--no-includes", "--blob=" + blob, "--list", "-z"},
                          .git_dir = source.path(),
                          .max_output = 64 * kMaxModulesFile},
                         control);
  if (!listing) return Err(std::move(listing).error().Context(".gitmodules cannot be read"));
  return ParseModules(*listing);
}

Error Named(Error error, const std::string& path) {
  return std::move(error).Context(fmt::format("the submodule {}", EscapeUnprintable(path)));
}

class SubmoduleFinder {
 public:
  SubmoduleFinder(const git::MirrorStore& mirrors, const ParseUrlFn& parse_url,
                  const git::Control& control)
      : mirrors_(mirrors), parse_url_(parse_url), control_(control) {}

  // What those of one repository are below.
  struct Parent {
    size_t number = 0;
    int depth = 0;
    std::string folder;   // "" or "PATH/"
    std::string modules;  // ".git/modules"
  };

  Result<void> Find(const git::Mirror& source, const std::string& commit,
                    const git::RemoteUrl& remote, const Parent& parent) {
    CR_TRY_ASSIGN(const TreeLinks links, ReadLinks(source, commit, control_));
    if (links.commits.empty()) return {};
    if (parent.depth == kMaxSubmoduleDepth) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("{} has submodules deeper than {} levels",
                             EscapeUnprintable(parent.folder), kMaxSubmoduleDepth));
    }
    CR_TRY_ASSIGN(const std::vector<Module> modules,
                  ReadModules(source, links.modules_file, control_));
    for (const auto& [path, id] : links.commits) {
      const std::string whole = parent.folder + path;
      const auto module = std::ranges::find(modules, path, &Module::path);
      if (module == modules.end()) {
        return Err(Error(ErrorCode::kFailedPrecondition,
                         fmt::format("the submodule {}: .gitmodules does not say where it is to be "
                                     "had",
                                     EscapeUnprintable(whole)))
                       .Remedy("Add it there, or remove the submodule"));
      }
      auto url = UrlOf(*module, remote);
      if (!url) return Err(Named(std::move(url).error(), whole));
      CR_TRY(Fetch(*module, id, *url, parent));
    }
    return {};
  }

  std::vector<Submodule> TakeFound() { return std::move(found_); }

 private:
  Result<git::RemoteUrl> UrlOf(const Module& module, const git::RemoteUrl& parent) const {
    CR_TRY_ASSIGN(const std::string text, git::ResolveRelativeUrl(parent, module.url));
    CR_TRY_ASSIGN(git::RemoteUrl url, parse_url_(text));
    if (git::IsSameHost(url, parent)) return url;
    return Err(Error(ErrorCode::kHostNotAllowed,
                     fmt::format("it is to be fetched from {}, and the repository is of another "
                                 "host, port or scheme",
                                 url.origin()))
                   .Remedy("Have a command in the sandbox get it, by rules of sandbox.network"));
  }

  Result<void> Fetch(const Module& module, const std::string& id, const git::RemoteUrl& url,
                     const Parent& parent) {
    if (found_.size() == kMaxModules) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("there are more than {} submodules", kMaxModules));
    }
    Submodule one{.path = parent.folder + module.path,
                  .git_dir = parent.modules + "/" + module.name,
                  .name = module.name,
                  .origin = url.origin(),
                  .parent = parent.number,
                  .resolved = {}};
    auto resolved = mirrors_.EnsureCommit(url, {.commit = id}, control_);
    if (!resolved && resolved.error().code() == ErrorCode::kNotFound) {
      return Err(Error(ErrorCode::kNotFound,
                       fmt::format("the submodule {} is at commit {}, which {} does not have",
                                   EscapeUnprintable(one.path), id, url.origin()))
                     .Remedy("Push it from the submodule's folder"));
    }
    if (!resolved) return Err(Named(std::move(resolved).error(), one.path));
    if (resolved->commit != id)
      return Err(Named(Error(ErrorCode::kDataCorrupt, "what it is at is no commit"), one.path));
    one.resolved = *std::move(resolved);
    const git::Mirror mirror(mirrors_.git(), one.resolved.mirror);
    const Parent below{.number = found_.size() + 1,
                       .depth = parent.depth + 1,
                       .folder = one.path + "/",
                       .modules = one.git_dir + "/modules"};
    found_.push_back(std::move(one));
    return Find(mirror, id, url, below);
  }

  const git::MirrorStore& mirrors_;
  const ParseUrlFn& parse_url_;
  const git::Control& control_;
  std::vector<Submodule> found_;
};

}  // namespace

Result<std::vector<Submodule>> FindSubmodules(const git::MirrorStore& mirrors,
                                              const git::Mirror& source, const std::string& commit,
                                              const git::RemoteUrl& remote,
                                              const ParseUrlFn& parse_url,
                                              const git::Control& control) {
  SubmoduleFinder finder(mirrors, parse_url, control);
  CR_TRY(finder.Find(source, commit, remote, {.folder = "", .modules = ".git/modules"}));
  return finder.TakeFound();
}

}  // namespace cleanroom::repository
