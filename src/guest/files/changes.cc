#include "guest/files/changes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <utility>

#include "os/file.h"
#include "tree/tar_format.h"

namespace cleanroom::guest {
namespace {

// What overlayfs notes at a folder of the upper layer (Documentation/filesystems/overlayfs.rst).
constexpr const char* kOpaque = "trusted.overlay.opaque";  // "y": nothing of below is seen in it
constexpr const char* kRedirect = "trusted.overlay.redirect";  // where it was before a rename

bool Has(const tree::Walk::Found& found, const char* attribute) {
  const std::string path = fmt::format("{}/{}", os::ProcFdPath(found.folder_fd), found.name);
  char value[1];
  return lgetxattr(path.c_str(), attribute, value, 0) > 0;
}

bool IsGit(const std::string& path) { return path == ".git" || path.starts_with(".git/"); }

std::string TargetOf(const tree::Walk::Found& found) {
  if (!S_ISLNK(found.info.st_mode)) return "";
  std::string target(tree::kMaxPathBytes, '\0');
  const ssize_t n = readlinkat(found.folder_fd, found.name.c_str(), target.data(), target.size());
  target.resize(static_cast<size_t>(n > 0 ? n : 0));
  return target;
}

Change Written(const tree::Walk::Found& found, std::string path) {
  return {.path = std::move(path), .gone = false, .info = found.info, .target = TargetOf(found)};
}

}  // namespace

Result<Changes> Changes::Open(const std::string& upper, const Root& root, std::string folder) {
  CR_TRY_ASSIGN(os::UniqueFd fd, os::Open(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return Changes(std::move(fd), root, std::move(folder));
}

Changes::Changes(os::UniqueFd upper, const Root& root, std::string folder)
    : upper_(std::move(upper)),
      root_(&root),
      folder_(std::move(folder)),
      walk_(upper_.get(), ".", tree::Mounts::kData) {}

Result<std::optional<Change>> Changes::Next() {
  for (;;) {
    if (!told_.empty()) {
      std::optional<Change> out(std::move(told_.front()));
      told_.pop_front();
      return out;
    }
    if (moved_) {
      CR_TRY_ASSIGN(const tree::Walk::Found* const found, moved_->walk.Next());
      if (found == nullptr) {
        moved_.reset();
      } else if (!found->path.empty()) {
        return Written(*found, moved_->path + "/" + found->path);
      }
      continue;
    }
    CR_TRY_ASSIGN(const tree::Walk::Found* const found, walk_.Next());
    if (found == nullptr) return std::nullopt;
    if (found->path.empty() || IsGit(found->path)) continue;
    CR_TRY_ASSIGN(auto change, Look(*found, found->path));
    if (change) return change;
  }
}

// One entry of the upper folder; what belongs with it goes into told_ or moved_.
Result<std::optional<Change>> Changes::Look(const tree::Walk::Found& found,
                                            const std::string& path) {
  if (S_ISCHR(found.info.st_mode) && found.info.st_rdev == makedev(0, 0)) {
    return Change{.path = path, .gone = true};
  }
  if (!S_ISDIR(found.info.st_mode)) return Written(found, path);
  const bool renamed = Has(found, kRedirect);
  if (!renamed && !Has(found, kOpaque)) return Written(found, path);
  if (renamed) {
    auto seen = root_->OpenFolder(fmt::format("{}/{}", folder_, path));
    // One that has gone meanwhile is told as such.
    if (seen) {
      const int fd = seen->get();
      moved_.emplace(Moved{
          .path = path, .fd = *std::move(seen), .walk = tree::Walk(fd, ".", tree::Mounts::kData)});
    }
  }
  told_.push_back(Written(found, path));
  return Change{.path = path, .gone = true};
}

}  // namespace cleanroom::guest
