// Unpacker: writes what a tar says below one folder, as it arrives.
//
// Files, folders, symbolic and hard links, with mode and time; the owner is the one given. Nothing
// outside the folder is touched: names that are absolute or have ".." are refused
// (invalid_argument), and so are devices and FIFOs; a link on the way to a name is not followed
// (already_exists), and a hard link leads to a file of the folder. A file or link that is there is
// replaced at once; a folder that is there stays as it is, with what else is in it. A folder in the
// place of a file, or the other way round: already_exists. What came before an error stays, but for
// the file that was being written.
//
// A new file takes six system calls: the folder that an entry lies in stays open for the next one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"
#include "tree/data_mounts.h"
#include "tree/file_writer.h"
#include "tree/tar_parser.h"

namespace cleanroom::tree {

struct UnpackOptions {
  std::optional<Owner> owner{};
  mode_t permissions = 07777;  // that are kept
  Mounts mounts = Mounts::kAll;
  int64_t max_entries = 1'000'000;
};

class Unpacker final : private TarSink {
 public:
  // Below the folder, which was opened for reading.
  Unpacker(os::UniqueFd folder, UnpackOptions options);
  ~Unpacker() override;
  Unpacker(const Unpacker&) = delete;

  // The next bytes of the tar; after an error there is nothing more to feed.
  Result<void> Feed(std::string_view data) { return parser_.Feed(data); }
  // The tar has been fed: gives folders their mode and time, which what was put into them changes.
  Result<void> Finish();

  int64_t entries() const { return entries_; }
  int64_t files() const { return files_; }
  int64_t content_bytes() const { return content_bytes_; }

 private:
  struct Folder {
    std::string name;
    os::UniqueFd fd;
  };
  struct FolderMetadata {
    std::string path;
    mode_t permissions;
    timespec mtime;
  };

  Result<void> Begin(const TarEntry& entry) override;
  Result<void> Content(std::string_view data) override;
  Result<void> End() override;

  Result<void> EnterFolder(const std::vector<std::string_view>& names, size_t count);
  Result<os::UniqueFd> OpenFolder(int parent, const std::string& name, bool make);
  Result<os::UniqueFd> OpenExisting(const std::vector<std::string_view>& names, size_t count);
  int Here() const { return folders_.empty() ? top_.get() : folders_.back().fd.get(); }
  Result<void> MakeFolder(const TarEntry& entry, const std::vector<std::string_view>& names);
  Result<void> MakeFile(const TarEntry& entry, const std::string& name);
  Result<void> MakeSymlink(const TarEntry& entry, const std::string& name);
  Result<void> MakeHardLink(const TarEntry& entry, const std::string& name);
  // Puts `made`, a temporary name, in the place of `name`.
  Result<void> Replace(const std::string& made, const std::string& name);
  Result<void> RefuseFolder(const std::string& name);

  os::UniqueFd top_;
  UnpackOptions options_;
  TarParser parser_;
  DataMounts mounts_;
  std::vector<Folder> folders_;  // that are open, each in the one before
  std::vector<FolderMetadata> made_;
  size_t made_bytes_ = 0;
  int64_t entries_ = 0;
  int64_t files_ = 0;
  int64_t content_bytes_ = 0;

  // The file that is being written, in the folder that is open.
  os::UniqueFd file_;
  std::string file_name_;   // its name so far
  std::string final_name_;  // and when it is whole
  std::string buffer_;      // of its content
  TarEntry entry_;
};

}  // namespace cleanroom::tree
