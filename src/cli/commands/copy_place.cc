#include "cli/commands/copy_place.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/id.h"
#include "cli/session/errors.h"
#include "os/file.h"
#include "tree/names.h"

namespace cleanroom::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCommand = "cleanroom cp";
constexpr int kMaxHops = 40;

// What stands before a colon, where that may be a sandbox: a path with a slash before it is local.
Result<CopyPlace> ParsePlace(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos || text.substr(0, colon).contains('/')) return CopyPlace{"", text};
  CopyPlace place{text.substr(0, colon), text.substr(colon + 1)};
  if (const auto id = CheckId(place.sandbox_id, "sandbox id"); !id) {
    return Err(
        UsageError(fmt::format("'{}' is no sandbox id; write ID:/PATH, or ./{} for a file of "
                               "this machine",
                               place.sandbox_id, text),
                   kCommand));
  }
  if (place.path.starts_with('/')) return place;
  return Err(UsageError(fmt::format("'{}' is not absolute, as a path in a sandbox must be; write "
                                    "{}:/{}",
                                    place.path, place.sandbox_id, place.path),
                        kCommand));
}

bool IsFolder(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string Inside(const std::string& folder, const std::string& name) {
  return folder.ends_with('/') ? folder + name : folder + "/" + name;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::string> WithName(const std::string& path, const std::string& name) {
  if (!tree::IsName(name)) {
    return Err(UsageError("what is copied has no name; give the destination one", kCommand));
  }
  return Inside(path, name);
}

// The file that the links lead to, of which all but the last name exists.
Result<std::string> FollowLinks(const std::string& path) {
  std::string at = path;
  for (int hop = 0; hop < kMaxHops; ++hop) {
    std::error_code error;
    const fs::path target = fs::read_symlink(at, error);
    if (error) return at;  // there is no link, or nothing
    at = target.is_absolute() ? target.string() : Inside(FolderOf(at), target.string());
    if (at.ends_with('/')) break;
  }
  errno = at.ends_with('/') ? EISDIR : ELOOP;
  return tree::PathError("write", path);
}

// A folder that was named may hold links of anybody's.
Result<void> CheckStaysInside(const std::string& target, const std::string& folder) {
  std::error_code error;
  const fs::path inner = fs::canonical(FolderOf(target), error);
  const fs::path outer = fs::canonical(folder, error);
  const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  if (!error && end == outer.end()) return {};
  return Err(Error(ErrorCode::kInvalidArgument,
                   fmt::format("a link in {} leads out of it, to {}", folder, target))
                 .About(SubjectKind::kFile, target)
                 .Remedy("Remove the link, or name the file it leads to"));
}

}  // namespace

Result<CopyPlaces> ParseCopy(const std::string& from, const std::string& to) {
  CopyPlaces places;
  CR_TRY_ASSIGN(places.from, ParsePlace(from));
  CR_TRY_ASSIGN(places.to, ParsePlace(to));
  if (places.from.path.empty() || places.to.path.empty()) {
    return Err(UsageError("a path is empty", kCommand));
  }
  const bool from_sandbox = !places.from.sandbox_id.empty();
  const bool to_sandbox = !places.to.sandbox_id.empty();
  if (!from_sandbox && !to_sandbox) {
    return Err(
        UsageError("both are of this machine; write one as ID:/PATH, or copy with: cp", kCommand));
  }
  if (from_sandbox && to_sandbox) {
    return Err(
        UsageError("both are of a sandbox; copy to this machine first, then from it, or "
                   "inside one sandbox with: cleanroom exec --in ID -- cp",
                   kCommand));
  }
  return places;
}

std::string LastName(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return "";
  const std::string whole = path.substr(0, end + 1);
  const std::string name = whole.substr(whole.rfind('/') + 1);
  return name == "." || name == ".." ? "" : name;
}

Result<LocalTarget> FindLocalFile(const std::string& path, const std::string& name) {
  const bool into = IsFolder(path);
  if (!into && path.ends_with('/')) {
    return Err(Error(ErrorCode::kNotFound, fmt::format("there is no folder {}", path))
                   .About(SubjectKind::kFile, path));
  }
  std::string wanted = path;
  if (into) {
    CR_TRY_ASSIGN(wanted, WithName(path, name));
  }
  CR_TRY_ASSIGN(const std::string target, FollowLinks(wanted));
  if (into && target != wanted) CR_TRY(CheckStaysInside(target, path));
  struct stat info = {};
  if (stat(target.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return tree::PathError(ErrorCode::kInvalidArgument, target,
                           S_ISDIR(info.st_mode) ? "is a folder, not a file to write"
                                                 : "is a device, a FIFO or a socket");
  }
  LocalTarget found{.folder = {}, .name = target.substr(target.rfind('/') + 1)};
  CR_TRY_ASSIGN(found.folder, os::OpenDir(FolderOf(target)));
  return found;
}

Result<os::UniqueFd> MakeLocalFolder(const std::string& path, const std::string& name) {
  const bool into = IsFolder(path);
  std::string target = path;
  if (into) {
    CR_TRY_ASSIGN(target, WithName(path, name));
  } else {
    while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  }
  if (mkdir(target.c_str(), 0755) != 0 && errno != EEXIST) {
    return tree::PathError("make the folder", target);
  }
  // A link of that name would lead somewhere that nobody named.
  os::UniqueFd folder(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (folder) return folder;
  return tree::PathError(ErrorCode::kAlreadyExists, target,
                         "is a file or a link, so that no folder can be made");
}

}  // namespace cleanroom::cli
