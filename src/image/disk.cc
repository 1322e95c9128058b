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
#include <string>
#include <utility>
#include <vector>

#include "os/scratch.h"

namespace cleanroom::image {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kMinBytes = 16ull << 20;
constexpr uint64_t kMaxBytes = 8ull << 40;
constexpr uint64_t kBytesPerInode = 16384;
constexpr uint32_t kInodeBytes = 256;
constexpr int kFormatVersion = 1;  // part of the cached file's name; changes with the format below

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
  param.s_log_groups_per_flex =
      7;  // bitmaps and inode tables of 128 groups side by side: few runs to copy
  param.s_feature_compat = EXT4_FEATURE_COMPAT_SPARSE_SUPER2 | EXT2_FEATURE_COMPAT_EXT_ATTR |
                           EXT2_FEATURE_COMPAT_DIR_INDEX;
  param.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                             EXT4_FEATURE_INCOMPAT_FLEX_BG;
  param.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
                              EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE;
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
  // The file is new, so the inode tables are zero without being written.
  CR_EXT2(ext2fs_allocate_tables(fs));
  for (ext2_ino_t inode = 1; inode < EXT2_FIRST_INODE(fs->super); ++inode) {
    if (inode != EXT2_ROOT_INO) ext2fs_inode_alloc_stats2(fs, inode, +1, 0);
  }
  CR_EXT2(ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, nullptr));
  ext2fs_mark_super_dirty(fs);
  CR_EXT2(ext2fs_close_free(&holder.fs));
  return {};
}

Result<void> CopyByHand(int from, int to, off_t begin, off_t end) {
  std::vector<uint8_t> buffer(1 << 20);
  while (begin < end) {
    const auto want = std::min<size_t>(buffer.size(), static_cast<size_t>(end - begin));
    CR_TRY_ASSIGN(const size_t n,
                  os::PreadSome(from, std::span(buffer).first(want), static_cast<uint64_t>(begin)));
    if (n == 0) return Err(ErrorCode::kInternal, "the cached disk became shorter");
    CR_TRY(os::PwriteAll(to, std::span(buffer).first(n), static_cast<uint64_t>(begin)));
    begin += static_cast<off_t>(n);
  }
  return {};
}

// Copies the parts that hold data.
Result<void> CopySparse(int from, int to, uint64_t size) {
  if (::ioctl(to, FICLONE, from) == 0) return {};
  if (::ftruncate(to, static_cast<off_t>(size)) != 0)
    return ErrErrno(ErrorCode::kResourceExhausted, "make room for a disk");
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
      if (n == 0) return Err(ErrorCode::kInternal, "the cached disk became shorter");
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

Result<os::UniqueFd> OpenFormatted(const std::filesystem::path& cache, uint64_t size) {
  const std::filesystem::path ready =
      cache / fmt::format("empty-v{}-{}.ext4", kFormatVersion, size);
  Result<os::UniqueFd> file = os::Open(ready, O_RDONLY);
  if (file || file.error().code() != ErrorCode::kNotFound) return file;
  CR_TRY(os::MakeDirs(cache, 0755));
  std::string name = ready.string() + ".XXXXXX";
  os::UniqueFd made(::mkostemp(name.data(), O_CLOEXEC));
  if (!made)
    return ErrErrno(ErrorCode::kFailedPrecondition,
                    fmt::format("make a disk in {}", cache.string()));
  Result<void> formatted;
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0)
    formatted = ErrErrno(ErrorCode::kResourceExhausted, "make room for a disk");
  if (formatted) formatted = Format(name, size);
  if (formatted && ::fsync(made.get()) != 0)
    formatted = ErrErrno(ErrorCode::kInternal, "fsync a disk");
  // Two may do this at once: both made the same, the later name wins.
  if (formatted && ::rename(name.c_str(), ready.c_str()) != 0)
    formatted = ErrErrno(ErrorCode::kInternal, "rename a disk");
  if (!formatted) {
    ::unlink(name.c_str());
    return Err(std::move(formatted).error());
  }
  return os::Open(ready, O_RDONLY);
}

Result<void> CopyTo(int from, uint64_t size, const std::filesystem::path& destination) {
  os::UniqueFd to(::open(destination.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to) {
    return ErrErrno(errno == EEXIST ? ErrorCode::kAlreadyExists : ErrorCode::kFailedPrecondition,
                    fmt::format("make the disk {}", destination.string()));
  }
  Result<void> copied = CopySparse(from, to.get(), size);
  if (!copied) ::unlink(destination.c_str());
  return copied;
}

}  // namespace

Result<void> MakeEmptyDisk(const std::filesystem::path& cache_folder, uint64_t size_bytes,
                           const std::filesystem::path& destination) {
  const uint64_t size = size_bytes / kBlock * kBlock;
  if (size < kMinBytes || size > kMaxBytes) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("a disk has from {} to {} bytes, not {}",
                                                        kMinBytes, kMaxBytes, size_bytes));
  }
  CR_TRY_ASSIGN(const os::UniqueFd from, OpenFormatted(cache_folder, size));
  return CopyTo(from.get(), size, destination);
}

Result<void> CopyDisk(const std::filesystem::path& source,
                      const std::filesystem::path& destination) {
  CR_TRY_ASSIGN(const os::UniqueFd from, os::Open(source, O_RDONLY));
  const off_t size = ::lseek(from.get(), 0, SEEK_END);
  if (size < 0) return ErrErrno(ErrorCode::kInternal, "measure a disk");
  return CopyTo(from.get(), static_cast<uint64_t>(size), destination);
}

}  // namespace cleanroom::image
