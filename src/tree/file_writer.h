// FileWriter: replaces a file at once when all of its contents have come.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::tree {

// Who new files belong to; nothing: whoever makes them.
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

struct FileMetadata {
  mode_t permissions = 0644;
  std::optional<timespec> mtime{};  // absent: when it was written
};

class FileWriter {
 public:
  // A temporary file in the folder, which is to become `name`, one component. `shown` is the path
  // in errors.
  static Result<FileWriter> Begin(os::UniqueFd folder, std::string name, std::optional<Owner> owner,
                                  std::string shown);
  FileWriter(FileWriter&& other) noexcept = default;
  FileWriter& operator=(FileWriter&&) = delete;
  // Removes what was not committed.
  ~FileWriter();

  Result<void> Write(std::string_view data);
  // Call once. invalid_argument when a folder is in the way.
  Result<void> Commit(const FileMetadata& metadata);
  int64_t size() const { return size_; }

 private:
  FileWriter(os::UniqueFd folder, os::UniqueFd file, std::string temporary, std::string name,
             std::optional<Owner> owner, std::string shown);
  os::UniqueFd folder_;  // none: nothing to remove
  os::UniqueFd file_;
  std::string temporary_;
  std::string name_;
  std::optional<Owner> owner_;
  std::string shown_;
  int64_t size_ = 0;
};

// Gives an open file or folder these; the owner first, for a change of it takes bits away.
Result<void> ApplyMetadata(int fd, std::optional<Owner> owner, mode_t permissions,
                           std::optional<timespec> mtime, std::string_view shown);

}  // namespace cleanroom::tree
