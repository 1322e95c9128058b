#include "tree/remover.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tree/names.h"

namespace cleanroom::tree {
namespace {

// Between two looks at what else there is to do.
constexpr int kPerStep = 256;
constexpr size_t kMaxNames = 4'000'000;

}  // namespace

Remover::Remover(os::UniqueFd folder, std::string name, std::string shown)
    : top_(std::move(folder)), name_(std::move(name)), shown_(std::move(shown)) {}

std::string Remover::Path() const {
  std::string path = shown_;
  for (size_t i = 1; i < folders_.size(); ++i) path += "/" + folders_[i].name;
  return path;
}

Result<void> Remover::Enter(int parent, const std::string& name) {
  if (folders_.size() == kMaxDepth) {
    return PathError(ErrorCode::kResourceExhausted, Path(), "is too deep to be removed at once");
  }
  os::UniqueFd fd(
      openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat above = {}, info = {};
  if (!fd || fstat(fd.get(), &info) != 0 || fstat(parent, &above) != 0) {
    return PathError("open", Path() + (folders_.empty() ? "" : "/" + name));
  }
  if (info.st_dev != above.st_dev) {
    return PathError(ErrorCode::kFailedPrecondition, Path() + (folders_.empty() ? "" : "/" + name),
                     "has something mounted on it");
  }
  CR_TRY_ASSIGN(auto names, SortedNames(fd.get(), kMaxNames));
  folders_.push_back({.fd = std::move(fd), .name = name, .names = std::move(names)});
  return {};
}

Result<bool> Remover::RemoveOne() {
  Folder& folder = folders_.back();
  if (folder.next == folder.names.size()) {
    const std::string name = folder.name;
    const std::string path = Path();
    folders_.pop_back();
    const int parent = folders_.empty() ? top_.get() : folders_.back().fd.get();
    if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return PathError("remove", path);
    }
    return !folders_.empty();
  }
  const std::string name = std::move(folder.names[folder.next++]);
  if (unlinkat(folder.fd.get(), name.c_str(), 0) == 0 || errno == ENOENT) return true;
  // EPERM is POSIX's answer for a folder.
  if (errno != EISDIR && errno != EPERM) return PathError("remove", Path() + "/" + name);
  CR_TRY(Enter(folder.fd.get(), name));
  return true;
}

Result<bool> Remover::Step(bool recursive) {
  if (!begun_) {
    begun_ = true;
    if (unlinkat(top_.get(), name_.c_str(), 0) == 0) return false;
    if (errno != EISDIR && errno != EPERM) return PathError("remove", shown_);
    if (unlinkat(top_.get(), name_.c_str(), AT_REMOVEDIR) == 0) return false;
    if (errno == EBUSY) {
      return PathError(ErrorCode::kFailedPrecondition, shown_, "has something mounted on it");
    }
    if (errno != ENOTEMPTY && errno != EEXIST) return PathError("remove", shown_);
    if (!recursive) {
      return PathError(ErrorCode::kFailedPrecondition, shown_,
                       "is a folder that is not empty; ask for it to be removed recursively");
    }
    CR_TRY(Enter(top_.get(), name_));
  }
  for (int i = 0; i < kPerStep; ++i) {
    CR_TRY_ASSIGN(const bool more, RemoveOne());
    if (!more) return false;
  }
  return true;
}

}  // namespace cleanroom::tree
