#include "guest/machine/layers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "guest/machine/mounts.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

constexpr const char* kLayers = "/layers";

// Only to be read through the overlay; devices and privileged programs of a layer are what they
// are in an image: harmless where root is anybody's.
Result<std::string> MountLayer(const std::string& device) {
  const std::string at =
      fmt::format("{}/{}", kLayers, std::filesystem::path(device).filename().string());
  CR_TRY(os::MakeDirs(at, 0755));
  if (mount(device.c_str(), at.c_str(), "ext4", MS_RDONLY | MS_NOATIME, "") != 0) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("mount the layer on {}", device));
  }
  return at;
}

// An overlay's root has owner, mode and times of its upper folder.
Result<void> TakeAfter(const std::string& layer, const std::string& upper) {
  struct stat info = {};
  if (stat(layer.c_str(), &info) != 0 || chown(upper.c_str(), info.st_uid, info.st_gid) != 0 ||
      chmod(upper.c_str(), info.st_mode & 07777) != 0) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("make {} like {}", upper, layer));
  }
  return {};
}

std::string OwnFolder(int number) { return fmt::format("{}/folders/{}", kDisk, number); }

}  // namespace

std::string UpperFolder(int number) { return OwnFolder(number) + "/upper"; }

Result<void> MountLayers(const Root& root, const LayeredFolder& folder, int number) {
  std::string lower;
  for (const std::string& device : folder.devices) {
    CR_TRY_ASSIGN(const std::string at, MountLayer(device));
    lower += (lower.empty() ? "" : ":") + at;
  }
  if (lower.empty()) return Err(ErrorCode::kInvalidArgument, "a folder without layers");
  const std::string upper = UpperFolder(number);
  const std::string work = OwnFolder(number) + "/work";
  CR_TRY(os::MakeDirs(upper, 0755));
  CR_TRY(os::MakeDirs(work, 0755));
  CR_TRY(TakeAfter(lower.substr(0, lower.find(':')), upper));
  CR_TRY_ASSIGN(const os::UniqueFd target, root.MountPoint(folder.target));
  // With xino a file's inode number is that of its layer, and lasting; with redirects, renaming a
  // folder of a layer works as it does anywhere else.
  const std::string options =
      fmt::format("lowerdir={},upperdir={},workdir={},xino=on,redirect_dir=on", lower, upper, work);
  if (mount("overlay", os::ProcFdPath(target.get()).c_str(), "overlay", MS_NOATIME,
            options.c_str()) != 0) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("mount layers on {}", folder.target));
  }
  return {};
}

}  // namespace cleanroom::guest
