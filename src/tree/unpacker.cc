#include "tree/unpacker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "os/file.h"
#include "tree/names.h"

namespace cleanroom::tree {
namespace {

constexpr size_t kWriteBytes = 256 << 10;
// Of the paths of folders whose mode and time are still to be set.
constexpr size_t kMaxMadeBytes = 64 << 20;
constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

}  // namespace

Unpacker::Unpacker(os::UniqueFd folder, UnpackOptions options)
    : top_(std::move(folder)), options_(options), parser_(*this), mounts_(options.mounts) {}

Unpacker::~Unpacker() {
  if (file_) (void)unlinkat(Here(), file_name_.c_str(), 0);
}

// The open folders become those on the way to the first `count` names.
Result<void> Unpacker::EnterFolder(const std::vector<std::string_view>& names, size_t count) {
  size_t same = 0;
  while (same < count && same < folders_.size() && folders_[same].name == names[same]) ++same;
  folders_.resize(same);
  while (folders_.size() < count) {
    std::string name(names[folders_.size()]);
    CR_TRY_ASSIGN(os::UniqueFd fd, OpenFolder(Here(), name, true));
    folders_.push_back({.name = std::move(name), .fd = std::move(fd)});
  }
  return {};
}

Result<os::UniqueFd> Unpacker::OpenFolder(int parent, const std::string& name, bool make) {
  os::UniqueFd fd(openat(parent, name.c_str(), kOpenFolder));
  const bool missing = !fd && errno == ENOENT && make;
  if (missing && mkdirat(parent, name.c_str(), 0755) == 0) {
    fd.reset(openat(parent, name.c_str(), kOpenFolder));
    if (fd) CR_TRY(ApplyMetadata(fd.get(), options_.owner, 0755, {}, name));
  }
  if (!fd && (errno == ENOTDIR || errno == ELOOP)) {
    return PathError(ErrorCode::kAlreadyExists, entry_.path,
                     fmt::format("cannot be made: its folder {} is a file or a link", name));
  }
  struct stat info = {};
  if (!fd || fstat(fd.get(), &info) != 0) return PathError("open the folder of", entry_.path);
  if (!mounts_.Allow(fd.get(), info.st_dev)) {
    return PathError(ErrorCode::kInvalidArgument, entry_.path, "is on a virtual file system");
  }
  return fd;
}

Result<os::UniqueFd> Unpacker::OpenExisting(const std::vector<std::string_view>& names,
                                            size_t count) {
  os::UniqueFd at(openat(top_.get(), ".", kOpenFolder));
  for (size_t i = 0; i < count && at; ++i) {
    at.reset(openat(at.get(), std::string(names[i]).c_str(), kOpenFolder));
  }
  if (!at) return PathError("open the folder of", entry_.path);
  return at;
}

Result<void> Unpacker::Begin(const TarEntry& entry) {
  entry_ = entry;
  entry_.permissions &= options_.permissions;
  if (++entries_ > options_.max_entries) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the archive has more than {} entries", options_.max_entries));
  }
  CR_TRY_ASSIGN(const auto names, SplitRelative(entry_.path));
  if (names.empty()) {
    if (entry_.type == TarType::kFolder) return {};  // the folder itself, which stays as it is
    return PathError(ErrorCode::kInvalidArgument, entry_.path, "is no name of a file");
  }
  CR_TRY(EnterFolder(names, names.size() - 1));
  const std::string name(names.back());
  switch (entry_.type) {
    case TarType::kFolder:
      return MakeFolder(entry_, names);
    case TarType::kFile:
      return MakeFile(entry_, name);
    case TarType::kSymlink:
      return MakeSymlink(entry_, name);
    case TarType::kHardLink:
      return MakeHardLink(entry_, name);
    case TarType::kDevice:
    case TarType::kFifo:
      break;
  }
  return PathError(ErrorCode::kInvalidArgument, entry_.path,
                   "is a device or a FIFO, which are not made");
}

Result<void> Unpacker::MakeFolder(const TarEntry& entry,
                                  const std::vector<std::string_view>& names) {
  const std::string name(names.back());
  // Nobody else's until it is what it is to be.
  if (mkdirat(Here(), name.c_str(), 0700) != 0) {
    if (errno != EEXIST) return PathError("make", entry.path);
    return EnterFolder(names, names.size());
  }
  CR_TRY(EnterFolder(names, names.size()));
  if (options_.owner && fchown(Here(), options_.owner->uid, options_.owner->gid) != 0) {
    return PathError("give away", entry.path);
  }
  made_bytes_ += entry.path.size() + sizeof(FolderMetadata);
  if (made_bytes_ > kMaxMadeBytes) {
    return Err(ErrorCode::kResourceExhausted, "the archive has too many folders");
  }
  made_.push_back({entry.path, entry.permissions, entry.mtime});
  return {};
}

// A new file is written in its place; one that replaces another gets that place when it is whole.
Result<void> Unpacker::MakeFile(const TarEntry& entry, const std::string& name) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  file_name_ = final_name_ = name;
  os::UniqueFd file(openat(Here(), name.c_str(), kFlags, 0600));
  if (!file && errno == EEXIST) {
    CR_TRY(RefuseFolder(name));
    file_name_ = TemporaryName();
    file.reset(openat(Here(), file_name_.c_str(), kFlags, 0600));
  }
  if (!file) return PathError("make", entry.path);
  file_ = std::move(file);
  buffer_.clear();
  ++files_;
  return {};
}

Result<void> Unpacker::Content(std::string_view data) {
  if (!file_) return {};
  content_bytes_ += static_cast<int64_t>(data.size());
  // Small files are one write, large pieces are not copied.
  if (buffer_.empty() && data.size() >= kWriteBytes) {
    return os::WriteAll(file_.get(), data, entry_.path);
  }
  buffer_ += data;
  if (buffer_.size() < kWriteBytes) return {};
  CR_TRY(os::WriteAll(file_.get(), buffer_, entry_.path));
  buffer_.clear();
  return {};
}

Result<void> Unpacker::End() {
  if (!file_) return {};
  if (!buffer_.empty()) CR_TRY(os::WriteAll(file_.get(), buffer_, entry_.path));
  buffer_.clear();
  CR_TRY(ApplyMetadata(file_.get(), options_.owner, entry_.permissions, entry_.mtime, entry_.path));
  if (file_name_ != final_name_) CR_TRY(Replace(file_name_, final_name_));
  file_.reset();
  return {};
}

Result<void> Unpacker::RefuseFolder(const std::string& name) {
  struct stat info = {};
  if (fstatat(Here(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
    return PathError(ErrorCode::kAlreadyExists, entry_.path,
                     "is a folder there, and no folder in the archive");
  }
  return {};
}

Result<void> Unpacker::Replace(const std::string& made, const std::string& name) {
  const bool done = renameat(Here(), made.c_str(), Here(), name.c_str()) == 0;
  const int saved = errno;
  // It stays when it did not get there, and also when both were names of one file.
  (void)unlinkat(Here(), made.c_str(), 0);
  errno = saved;
  return done ? Result<void>() : PathError("replace", entry_.path);
}

Result<void> Unpacker::MakeSymlink(const TarEntry& entry, const std::string& name) {
  std::string made = name;
  if (symlinkat(entry.target.c_str(), Here(), made.c_str()) != 0) {
    if (errno != EEXIST) return PathError("make", entry.path);
    CR_TRY(RefuseFolder(name));
    made = TemporaryName();
    if (symlinkat(entry.target.c_str(), Here(), made.c_str()) != 0) {
      return PathError("make", entry.path);
    }
  }
  if (const auto& owner = options_.owner) {
    if (fchownat(Here(), made.c_str(), owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) != 0) {
      return PathError("give away", entry.path);
    }
  }
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, entry.mtime};
  (void)utimensat(Here(), made.c_str(), times, AT_SYMLINK_NOFOLLOW);
  return made == name ? Result<void>() : Replace(made, name);
}

Result<void> Unpacker::MakeHardLink(const TarEntry& entry, const std::string& name) {
  CR_TRY_ASSIGN(const auto target, SplitRelative(entry.target));
  if (target.empty()) return PathError(ErrorCode::kInvalidArgument, entry.target, "is no file");
  CR_TRY_ASSIGN(const os::UniqueFd from, OpenExisting(target, target.size() - 1));
  const std::string old(target.back());
  struct stat info = {};
  if (fstatat(from.get(), old.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return PathError("find the other name of", entry.path);
  }
  if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) {
    return PathError(ErrorCode::kInvalidArgument, entry.target, "is no file to have another name");
  }
  ++files_;
  if (linkat(from.get(), old.c_str(), Here(), name.c_str(), 0) == 0) return {};
  if (errno != EEXIST) return PathError("make", entry.path);
  CR_TRY(RefuseFolder(name));
  const std::string made = TemporaryName();
  if (linkat(from.get(), old.c_str(), Here(), made.c_str(), 0) != 0) {
    return PathError("make", entry.path);
  }
  return Replace(made, name);
}

Result<void> Unpacker::Finish() {
  CR_TRY(parser_.Finish());
  folders_.clear();
  // What is deeper comes later, and a folder's mode may forbid to look into it.
  while (!made_.empty()) {
    const FolderMetadata folder = std::move(made_.back());
    made_.pop_back();
    entry_.path = folder.path;
    CR_TRY_ASSIGN(const auto names, SplitRelative(folder.path));
    CR_TRY_ASSIGN(const os::UniqueFd fd, OpenExisting(names, names.size()));
    CR_TRY(ApplyMetadata(fd.get(), {}, folder.permissions, folder.mtime, folder.path));
  }
  return {};
}

}  // namespace cleanroom::tree
