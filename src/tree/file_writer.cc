#include "tree/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "os/file.h"
#include "tree/names.h"

namespace cleanroom::tree {

Result<FileWriter> FileWriter::Begin(os::UniqueFd folder, std::string name,
                                     std::optional<Owner> owner, std::string shown) {
  if (!IsName(name)) return PathError(ErrorCode::kInvalidArgument, shown, "is no name of a file");
  std::string temporary = TemporaryName();
  os::UniqueFd file(openat(folder.get(), temporary.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return PathError("write", shown);
  return FileWriter(std::move(folder), std::move(file), std::move(temporary), std::move(name),
                    owner, std::move(shown));
}

FileWriter::FileWriter(os::UniqueFd folder, os::UniqueFd file, std::string temporary,
                       std::string name, std::optional<Owner> owner, std::string shown)
    : folder_(std::move(folder)),
      file_(std::move(file)),
      temporary_(std::move(temporary)),
      name_(std::move(name)),
      owner_(owner),
      shown_(std::move(shown)) {}

FileWriter::~FileWriter() {
  if (folder_) (void)unlinkat(folder_.get(), temporary_.c_str(), 0);
}

Result<void> FileWriter::Write(std::string_view data) {
  CR_TRY(os::WriteAll(file_.get(), data, shown_));
  size_ += static_cast<int64_t>(data.size());
  return {};
}

Result<void> FileWriter::Commit(const FileMetadata& metadata) {
  CR_TRY(ApplyMetadata(file_.get(), owner_, metadata.permissions, metadata.mtime, shown_));
  if (renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) != 0) {
    if (errno == EISDIR) return PathError(ErrorCode::kInvalidArgument, shown_, "is a folder");
    return PathError("replace", shown_);
  }
  folder_.reset();
  return {};
}

Result<void> ApplyMetadata(int fd, std::optional<Owner> owner, mode_t permissions,
                           std::optional<timespec> mtime, std::string_view shown) {
  if (owner && fchown(fd, owner->uid, owner->gid) != 0) return PathError("give away", shown);
  if (fchmod(fd, permissions & 07777) != 0) return PathError("set the mode of", shown);
  if (mtime) {
    const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, *mtime};
    if (futimens(fd, times) != 0) return PathError("set the time of", shown);
  }
  return {};
}

}  // namespace cleanroom::tree
