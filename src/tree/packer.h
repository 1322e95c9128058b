// Packer: a tar of files, folders and links, made as it is read.
//
// Devices, FIFOs and sockets are left out, and so is what virtual file systems hold. Names of one
// file come as hard links after the first. Holes become zeros. A file that changes while it is read
// keeps the length that was announced, by zeros or a cut, and the tar is finished; but then the end
// is an error (failed_precondition) that names the first such file.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"
#include "tree/tar_format.h"
#include "tree/walk.h"

namespace cleanroom::tree {

class Packer {
 public:
  // `name` in `folder`, "." for the folder itself; `path` is its name in the tar, "" for none: then
  // what is in the folder has the names that it has there.
  struct Start {
    os::UniqueFd folder;
    std::string name;
    std::string path;
  };
  // Finds where one of the paths begins; asked when its turn comes, so that few folders are open.
  using Opener = std::function<Result<Start>(const std::string& path)>;
  Packer(std::vector<std::string> paths, Opener opener, Mounts mounts);

  // Adds to `out` until it has `size` bytes or the tar has come to its end: then false.
  Result<bool> Fill(std::string& out, size_t size);

  int64_t files() const { return files_; }
  int64_t content_bytes() const { return content_bytes_; }

 private:
  Result<bool> BeginNext(std::string& out);
  Result<void> BeginEntry(const Walk::Found& found, std::string& out);
  Result<void> BeginFile(const Walk::Found& found, TarEntry entry, std::string& out);
  Result<void> ReadContent(std::string& out, size_t size);
  void EndFile(std::string& out);
  void NoteChange(const std::string& path);

  std::vector<std::string> paths_;
  Opener opener_;
  Mounts mounts_;
  size_t next_path_ = 0;
  Start start_;
  size_t seen_ = 0;
  std::optional<Walk> walk_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;  // files with several names
  bool ended_ = false;
  std::string changed_;
  int64_t files_ = 0;
  int64_t content_bytes_ = 0;

  // The file that is being read.
  os::UniqueFd file_;
  struct stat info_ = {};
  std::string path_;
  uint64_t left_ = 0;
};

}  // namespace cleanroom::tree
