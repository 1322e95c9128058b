#include "tree/walk.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "tree/names.h"

namespace cleanroom::tree {

Walk::Walk(int folder_fd, std::string name, Mounts mounts, WalkLimits limits)
    : mounts_(mounts), limits_(limits) {
  found_.folder_fd = folder_fd;
  found_.name = std::move(name);
}

Result<bool> Walk::Look(int folder_fd, const std::string& name, dev_t folder_device) {
  if (fstatat(folder_fd, name.c_str(), &found_.info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT && begun_) return false;
    return PathError("look at", found_.path.empty() ? name : found_.path);
  }
  found_.has_data = true;
  const bool readable = S_ISREG(found_.info.st_mode) || S_ISDIR(found_.info.st_mode);
  if (readable && found_.info.st_dev != folder_device) {
    const auto known = mounts_.Known(found_.info.st_dev);
    const os::UniqueFd place(
        known ? -1 : openat(folder_fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    found_.has_data = known ? *known : place && mounts_.Allow(place.get(), found_.info.st_dev);
  }
  return true;
}

Result<void> Walk::Enter() {
  if (folders_.size() == limits_.max_depth) {
    return PathError(ErrorCode::kResourceExhausted, found_.path,
                     fmt::format("is deeper than {} folders", limits_.max_depth));
  }
  Folder folder{
      .fd = os::UniqueFd(openat(found_.folder_fd, found_.name.c_str(),
                                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)),
      .device = found_.info.st_dev,
      .path_size = found_.path.size()};
  // Gone, or something else by now.
  if (!folder.fd && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return {};
  if (!folder.fd) return PathError("open", found_.path.empty() ? found_.name : found_.path);
  auto names = SortedNames(folder.fd.get(), limits_.max_entries - seen_);
  if (!names) return Err(std::move(names).error());
  seen_ += names->size();
  folder.names = std::move(*names);
  folders_.push_back(std::move(folder));
  return {};
}

Result<const Walk::Found*> Walk::Next() {
  if (!begun_) {
    CR_TRY(Look(found_.folder_fd, found_.name, static_cast<dev_t>(-1)));
    begun_ = true;
    return &found_;
  }
  if (S_ISDIR(found_.info.st_mode) && found_.has_data) CR_TRY(Enter());
  found_.info.st_mode = 0;  // entered
  while (!folders_.empty()) {
    Folder& folder = folders_.back();
    if (folder.next == folder.names.size()) {
      folders_.pop_back();
      continue;
    }
    found_.path.resize(folder.path_size);
    found_.name = std::move(folder.names[folder.next++]);
    if (!found_.path.empty()) found_.path += '/';
    found_.path += found_.name;
    found_.folder_fd = folder.fd.get();
    CR_TRY_ASSIGN(const bool there, Look(found_.folder_fd, found_.name, folder.device));
    if (there) return &found_;
  }
  return nullptr;
}

}  // namespace cleanroom::tree
