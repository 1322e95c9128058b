// Writes an image's tree into a fresh ext4 file system in a sparse file, without mounting and
// without root.
//
// File content goes to the file as it comes: blocks are handed out in order, from block 16 on. When
// the tree is complete, Finish writes symbolic links and folders behind it, then the inode tables
// and bitmaps, sized for exactly what there is (flex_bg lets them lie anywhere, sparse_super2
// leaves the rest of each group free), and last the superblock. So nothing is laid out twice, and
// nothing has to be guessed beforehand. The file system has no journal, no checksums and no
// lost+found: it is mounted read-only, from a file whose bytes came from digests. For the same tree
// the bytes are the same. Folders are linear (no hash index): a guest's dentry cache makes up for
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ext4/tree.h"
#include "os/scratch.h"

namespace cleanroom::ext4 {

class Writer {
 public:
  static constexpr uint32_t kBlockBytes = 4096;
  // Behind the superblock and the descriptors of 1920 groups (240 GiB).
  static constexpr uint64_t kFirstDataBlock = 16;

  // The file is made; it must not exist. Whoever calls removes it when anything fails.
  static Result<Writer> Create(const std::filesystem::path& path);

  // One file's content at a time: Write in ascending order of offset, then EndFile, which answers
  // where it lies.
  Result<void> Write(uint64_t offset, std::span<const uint8_t> data);
  Result<std::vector<Extent>> EndFile();

  // Gives blocks of a removed file back to the host's file system.
  Result<void> Release(const std::vector<Extent>& extents);

  // Bytes handed out so far, released ones included.
  uint64_t allocated_bytes() const { return next_block_ * kBlockBytes; }

  // Completes the file system, syncs the file, answers its apparent size. `identity` seeds the file
  // system's UUID. Fails with resource_exhausted when the tree does not fit what ext4 can hold
  // here.
  Result<uint64_t> Finish(Tree& tree, std::string_view identity);

 private:
  struct Builder;  // ext4_finish.cc
  Writer(std::filesystem::path path, os::UniqueFd fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}

  Result<void> Append(std::span<const uint8_t> data);
  Result<void> AppendZeros(uint64_t count);
  Result<void> PadBlock();
  Result<void> Flush();
  void EndRun();
  // Appends whole blocks of metadata; answers the first block.
  Result<uint64_t> AppendBlocks(std::span<const uint8_t> data);

  std::filesystem::path path_;
  os::UniqueFd fd_;
  std::vector<uint8_t> buffer_;
  uint64_t buffer_offset_ = 0;  // where in the file buffer_ begins
  uint64_t next_block_ = 0;     // first block not handed out; only true between files
  uint64_t synced_ = 0;
  // The current file:
  std::vector<Extent> extents_;
  bool in_run_ = false;
  uint64_t run_logical_ = 0, run_physical_ = 0;  // blocks
  uint64_t position_ = 0;                        // offset within the file of the next byte appended
  std::vector<Extent> released_;
};

}  // namespace cleanroom::ext4
