#include "ext4/read_file.h"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>

namespace cleanroom::ext4 {
namespace {

struct Close {
  void operator()(ext2_filsys fs) const { ext2fs_free(fs); }
};

Result<void> Check(errcode_t error, const std::string& what) {
  if (error == 0) return {};
  if (error == EXT2_ET_FILE_NOT_FOUND) {
    return Err(ErrorCode::kNotFound, fmt::format("{}: there is no such file", what));
  }
  return Err(ErrorCode::kDataCorrupt, fmt::format("{}: libext2fs error {}", what, error));
}

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& filesystem, const std::string& path,
                             size_t max_bytes) {
  ext2_filsys opened = nullptr;
  CR_TRY(Check(ext2fs_open(filesystem.c_str(), EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &opened),
               filesystem.string()));
  const std::unique_ptr<struct_ext2_filsys, Close> fs(opened);
  ext2_ino_t number = 0;
  CR_TRY(Check(ext2fs_namei_follow(opened, EXT2_ROOT_INO, EXT2_ROOT_INO, path.c_str(), &number),
               path));
  ext2_inode inode = {};
  CR_TRY(Check(ext2fs_read_inode(opened, number, &inode), path));
  if (!S_ISREG(inode.i_mode)) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("{} is not a regular file", path));
  }
  const uint64_t size = EXT2_I_SIZE(&inode);
  if (size > max_bytes) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("{} has {} bytes, more than {}", path, size, max_bytes));
  }
  ext2_file_t file = nullptr;
  CR_TRY(Check(ext2fs_file_open(opened, number, 0, &file), path));
  std::string text(size, '\0');
  unsigned got = 0;
  const errcode_t failed =
      size == 0 ? 0 : ext2fs_file_read(file, text.data(), static_cast<unsigned>(size), &got);
  ext2fs_file_close(file);
  CR_TRY(Check(failed, path));
  text.resize(got);
  return text;
}

}  // namespace cleanroom::ext4
