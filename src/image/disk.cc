#include "image/disk.h"

extern "C" {  // the header does not say so itself
#include <com_err.h>
}
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "os/scratch.h"

namespace cleanroom::image {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kMinBytes = 16ull << 20;
constexpr uint64_t kMaxBytes = 8ull << 40;
constexpr uint64_t kBytesPerInode = 16384;
constexpr uint32_t kInodeBytes = 256;

#define CR_EXT2(call)                                                                       \
  do {                                                                                      \
    if (const errcode_t cr_code_ = (call)) {                                                \
      return Err(ErrorCode::kInternal,                                                      \
                 fmt::format("formatting a disk: {}: {}", #call, error_message(cr_code_))); \
    }                                                                                       \
  } while (0)

struct FsCloser {
  ext2_filsys fs = nullptr;
  ~FsCloser() {
    if (fs != nullptr) ext2fs_free(fs);
  }
};

Result<void> Format(const std::filesystem::path& path, uint64_t size) {
  ext2_super_block param = {};
  ext2fs_blocks_count_set(&param, size / kBlock);
  param.s_log_block_size = 2;
  param.s_log_cluster_size = 2;
  param.s_rev_level = EXT2_DYNAMIC_REV;
  param.s_inode_size = kInodeBytes;
  param.s_inodes_count =
      static_cast<uint32_t>(std::min<uint64_t>(size / kBytesPerInode, UINT32_MAX - 1));
  // Bitmaps and inode tables of 1024 groups (128 GiB) side by side: few runs to copy.
  param.s_log_groups_per_flex = 10;
  param.s_feature_compat = EXT4_FEATURE_COMPAT_SPARSE_SUPER2 | EXT2_FEATURE_COMPAT_EXT_ATTR |
                           EXT2_FEATURE_COMPAT_DIR_INDEX;
  param.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                             EXT4_FEATURE_INCOMPAT_FLEX_BG;
  param.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
                              EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
                              EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_GDT_CSUM;
  FsCloser holder;
  CR_EXT2(ext2fs_initialize(path.c_str(), EXT2_FLAG_64BITS, &param, unix_io_manager, &holder.fs));
  ext2_filsys fs = holder.fs;
  ext2_super_block& super = *fs->super;
  super.s_state = EXT2_VALID_FS;
  super.s_max_mnt_count = -1;
  super.s_min_extra_isize = super.s_want_extra_isize =
      sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  super.s_flags |= EXT2_FLAGS_UNSIGNED_HASH;
  if (::getrandom(super.s_uuid, sizeof(super.s_uuid), 0) != sizeof(super.s_uuid) ||
      ::getrandom(super.s_hash_seed, sizeof(super.s_hash_seed), 0) != sizeof(super.s_hash_seed)) {
    return ErrErrno(ErrorCode::kInternal, "getrandom");
  }
  CR_EXT2(ext2fs_allocate_tables(fs));
  // The file is new, so the inode tables are zero without being written.
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group)
    ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
  for (ext2_ino_t inode = 1; inode < EXT2_FIRST_INODE(fs->super); ++inode) {
    if (inode != EXT2_ROOT_INO) ext2fs_inode_alloc_stats2(fs, inode, +1, 0);
  }
  CR_EXT2(ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, nullptr));
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group)
    ext2fs_group_desc_csum_set(fs, group);
  ext2fs_mark_super_dirty(fs);
  // A disk does not outlive a crash of its host.
  CR_EXT2(ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC));
  holder.fs = nullptr;
  return {};
}

// A file that was not there.
Result<os::UniqueFd> Create(const std::filesystem::path& path) {
  os::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) {
    return ErrErrno(errno == EEXIST ? ErrorCode::kAlreadyExists : ErrorCode::kFailedPrecondition,
                    fmt::format("make the disk {}", path.string()));
  }
  return file;
}

Result<void> Resize(int file, uint64_t size) {
  if (::ftruncate(file, static_cast<off_t>(size)) != 0)
    return ErrErrno(ErrorCode::kResourceExhausted, "make room for a disk");
  return {};
}

Result<void> CopyByHand(int from, int to, off_t begin, off_t end) {
  std::vector<uint8_t> buffer(1 << 20);
  while (begin < end) {
    const auto want = std::min<size_t>(buffer.size(), static_cast<size_t>(end - begin));
    CR_TRY_ASSIGN(const size_t n,
                  os::PreadSome(from, std::span(buffer).first(want), static_cast<uint64_t>(begin)));
    if (n == 0) return Err(ErrorCode::kInternal, "the disk became shorter");
    CR_TRY(os::PwriteAll(to, std::span(buffer).first(n), static_cast<uint64_t>(begin)));
    begin += static_cast<off_t>(n);
  }
  return {};
}

// Copies the parts that hold data.
Result<void> CopySparse(int from, int to, uint64_t size) {
  if (::ioctl(to, FICLONE, from) == 0) return {};
  CR_TRY(Resize(to, size));
  off_t end = 0;
  while (true) {
    off_t begin = ::lseek(from, end, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return {};
    if (begin < 0) return ErrErrno(ErrorCode::kInternal, "look for data in a disk");
    end = ::lseek(from, begin, SEEK_HOLE);
    if (end < 0) return ErrErrno(ErrorCode::kInternal, "look for a hole in a disk");
    off_t target = begin;
    while (begin < end) {
      const ssize_t n =
          ::copy_file_range(from, &begin, to, &target, static_cast<size_t>(end - begin), 0);
      if (n > 0 || (n < 0 && errno == EINTR)) continue;
      if (n == 0) return Err(ErrorCode::kInternal, "the disk became shorter");
      if (errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS) {
        return ErrErrno(errno == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
                        "copy a disk");
      }
      // Another file system, of a kind that the kernel does not copy to.
      CR_TRY(CopyByHand(from, to, begin, end));
      begin = end;
    }
  }
}

}  // namespace

Result<void> MakeEmptyDisk(uint64_t size_bytes, const std::filesystem::path& destination) {
  const uint64_t size = size_bytes / kBlock * kBlock;
  if (size < kMinBytes || size > kMaxBytes) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("a disk has from {} to {} bytes, not {}",
                                                        kMinBytes, kMaxBytes, size_bytes));
  }
  CR_TRY_ASSIGN(const os::UniqueFd file, Create(destination));
  Result<void> made = Resize(file.get(), size);
  if (made) made = Format(destination, size);
  if (!made) ::unlink(destination.c_str());
  return made;
}

Result<void> CopyDisk(const std::filesystem::path& source,
                      const std::filesystem::path& destination) {
  CR_TRY_ASSIGN(const os::UniqueFd from, os::Open(source, O_RDONLY));
  CR_TRY_ASSIGN(const uint64_t size, os::FileSize(from.get()));
  CR_TRY_ASSIGN(const os::UniqueFd to, Create(destination));
  Result<void> copied = CopySparse(from.get(), to.get(), size);
  if (!copied) ::unlink(destination.c_str());
  return copied;
}

}  // namespace cleanroom::image
