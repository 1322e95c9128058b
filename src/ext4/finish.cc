// Writer::Finish: folders, links, inodes and the file system's own structures.
extern "C" {  // the header does not say so itself
#include <com_err.h>
}
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/sha256/digest.h"
#include "ext4/inode_numbers.h"
#include "ext4/writer.h"

namespace cleanroom::ext4 {
namespace {

constexpr uint32_t kBlock = Writer::kBlockBytes;
constexpr uint32_t kBlocksPerGroup = 8 * kBlock;
constexpr uint32_t kInodeBytes = 256;
constexpr uint32_t kInodesPerBlock = kBlock / kInodeBytes;
constexpr uint32_t kMaxInodesPerGroup = 8 * kBlock;
constexpr uint32_t kMaxGroups = 1920;
constexpr uint32_t kMaxFolderLinks = 65000;
constexpr size_t kFastLinkBytes = 60;  // with its NUL: kept in the inode
constexpr uint64_t kExtentsPerBlock = (kBlock - sizeof(ext3_extent_header)) / sizeof(ext3_extent);
constexpr uint64_t kExtentsInInode = 4;

static_assert(std::endian::native == std::endian::little,
              "on-disk structures are written as they are in memory");

std::unexpected<Error> Ext2Error(errcode_t code, std::string_view what) {
  if (code == ENOSPC) {
    return Err(Error::FromErrno(ErrorCode::kResourceExhausted, ENOSPC,
                                fmt::format("writing a file system: {}", what)));
  }
  return Err(code == EXT2_ET_EA_NO_SPACE ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
             fmt::format("writing a file system: {}: {}", what, error_message(code)));
}

#define CR_EXT2(call)                                                         \
  do {                                                                        \
    if (const errcode_t cr_code_ = (call)) return Ext2Error(cr_code_, #call); \
  } while (0)

uint16_t TypeBits(archive::EntryType type) {
  switch (type) {
    case archive::EntryType::kFile:
    case archive::EntryType::kHardLink:
      return S_IFREG;
    case archive::EntryType::kFolder:
      return S_IFDIR;
    case archive::EntryType::kSymlink:
      return S_IFLNK;
    case archive::EntryType::kCharDevice:
      return S_IFCHR;
    case archive::EntryType::kBlockDevice:
      return S_IFBLK;
    case archive::EntryType::kFifo:
      return S_IFIFO;
  }
  return S_IFREG;
}

uint8_t FolderEntryType(archive::EntryType type) {
  switch (type) {
    case archive::EntryType::kFile:
    case archive::EntryType::kHardLink:
      return EXT2_FT_REG_FILE;
    case archive::EntryType::kFolder:
      return EXT2_FT_DIR;
    case archive::EntryType::kSymlink:
      return EXT2_FT_SYMLINK;
    case archive::EntryType::kCharDevice:
      return EXT2_FT_CHRDEV;
    case archive::EntryType::kBlockDevice:
      return EXT2_FT_BLKDEV;
    case archive::EntryType::kFifo:
      return EXT2_FT_FIFO;
  }
  return EXT2_FT_UNKNOWN;
}

// Folder entries packed into blocks.
class FolderBlocks {
 public:
  void Add(uint32_t inode, std::string_view name, archive::EntryType type) {
    const size_t need = EXT2_DIR_REC_LEN(name.size());
    if (bytes_.empty() || used_ + need > kBlock) {
      Close();
      bytes_.resize(bytes_.size() + kBlock);
      used_ = 0;
    }
    last_ = bytes_.size() - kBlock + used_;
    uint8_t* at = bytes_.data() + last_;
    const auto length = static_cast<uint16_t>(need);
    std::memcpy(at, &inode, 4);
    std::memcpy(at + 4, &length, 2);
    at[6] = static_cast<uint8_t>(name.size());
    at[7] = FolderEntryType(type);
    std::memcpy(at + 8, name.data(), name.size());
    used_ += need;
  }
  std::span<const uint8_t> Finish() {
    Close();
    return bytes_;
  }

 private:
  // The last entry of a block reaches to its end.
  void Close() {
    if (bytes_.empty()) return;
    const auto length = static_cast<uint16_t>(bytes_.size() - last_);
    std::memcpy(bytes_.data() + last_ + 4, &length, 2);
  }
  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
  size_t last_ = 0;
};

void SetTime(int64_t seconds, uint32_t nanoseconds, uint32_t& low, uint32_t& extra) {
  // 34 bits of seconds: -2^31 … 2^33 + 2^31 - 1 (kernel documentation, ext4 "inode timestamps").
  seconds = std::clamp<int64_t>(seconds, INT32_MIN, (int64_t{3} << 32) + INT32_MAX);
  low = static_cast<uint32_t>(seconds);
  const int64_t epoch = (seconds - static_cast<int32_t>(low)) >> 32;
  extra = static_cast<uint32_t>(epoch & 3) | (nanoseconds << 2);
}

}  // namespace

struct Writer::Builder {
  Writer& writer;
  Tree& tree;
  std::string_view identity;
  std::vector<uint32_t> inode_of = {};              // by node; 0: none yet
  std::vector<Tree::NodeId> node_of = {};           // by inode - kFirstInode
  std::vector<uint64_t> folder_parent = {};         // by node: the parent's inode
  std::vector<uint32_t> extra_blocks = {};          // by node: blocks of its extent tree
  std::vector<std::array<uint8_t, 60>> roots = {};  // by node: i_block
  uint64_t xattr_nodes = 0;
  ext2_filsys fs = nullptr;

  ~Builder() {
    if (fs != nullptr) ext2fs_free(fs);
  }

  // The nodes in the order of their inodes.
  void Order() {
    const auto highest = std::ranges::max_element(inode_of);
    if (*highest >= kFirstInode) node_of.resize(*highest - kFirstInode + 1);
    for (Tree::NodeId id = 0; id < inode_of.size(); ++id) {
      if (inode_of[id] >= kFirstInode) node_of[inode_of[id] - kFirstInode] = id;
      if (inode_of[id] == 0 || tree.node(id).children == nullptr) continue;
      for (const auto& [name, child] : *tree.node(id).children) {
        if (tree.node(child.node).type == archive::EntryType::kFolder)
          folder_parent[child.node] = inode_of[id];
      }
    }
  }

  Result<void> WriteFolder(Tree::NodeId id) {
    FolderBlocks blocks;
    blocks.Add(inode_of[id], ".", archive::EntryType::kFolder);
    blocks.Add(static_cast<uint32_t>(folder_parent[id]), "..", archive::EntryType::kFolder);
    for (const auto& [name, child] : *tree.node(id).children) {
      blocks.Add(inode_of[child.node], name, tree.node(child.node).type);
    }
    const auto bytes = blocks.Finish();
    CR_TRY(writer.Write(0, bytes));
    CR_TRY_ASSIGN(tree.node(id).extents, writer.EndFile());
    tree.node(id).size = bytes.size();
    return {};
  }

  // The node's extent tree: its root goes to `roots`, the blocks below are appended.
  Result<void> WriteExtents(Tree::NodeId id) {
    struct Item {
      uint32_t logical;
      uint64_t physical;
      uint32_t count;  // 0 in index items
    };
    std::vector<Item> items;
    for (const Extent& extent : tree.node(id).extents)
      items.push_back({extent.logical, extent.physical, extent.count});
    const auto encode = [](std::span<const Item> part, uint16_t depth, uint16_t room,
                           uint8_t* out) {
      ext3_extent_header header = {};
      header.eh_magic = EXT3_EXT_MAGIC;
      header.eh_entries = static_cast<uint16_t>(part.size());
      header.eh_max = room;
      header.eh_depth = depth;
      std::memcpy(out, &header, sizeof(header));
      for (const Item& item : part) {
        out += sizeof(ext3_extent);
        if (depth == 0) {
          ext3_extent leaf = {};
          leaf.ee_block = item.logical;
          leaf.ee_len = static_cast<uint16_t>(item.count);
          leaf.ee_start = static_cast<uint32_t>(item.physical);
          leaf.ee_start_hi = static_cast<uint16_t>(item.physical >> 32);
          std::memcpy(out, &leaf, sizeof(leaf));
        } else {
          ext3_extent_idx index = {};
          index.ei_block = item.logical;
          index.ei_leaf = static_cast<uint32_t>(item.physical);
          index.ei_leaf_hi = static_cast<uint16_t>(item.physical >> 32);
          std::memcpy(out, &index, sizeof(index));
        }
      }
    };
    uint16_t depth = 0;
    while (items.size() > kExtentsInInode) {
      std::vector<Item> above;
      for (size_t i = 0; i < items.size(); i += kExtentsPerBlock) {
        const auto part =
            std::span(items).subspan(i, std::min<size_t>(kExtentsPerBlock, items.size() - i));
        std::array<uint8_t, kBlock> block = {};
        encode(part, depth, kExtentsPerBlock, block.data());
        CR_TRY_ASSIGN(const uint64_t at, writer.AppendBlocks(block));
        above.push_back({part.front().logical, at, 0});
        ++extra_blocks[id];
      }
      items = std::move(above);
      ++depth;
    }
    roots[id] = {};
    encode(items, depth, kExtentsInInode, roots[id].data());
    return {};
  }

  Result<void> WriteContent(Tree::NodeId id) {
    Tree::Node& node = tree.node(id);
    if (!node.xattrs.empty()) ++xattr_nodes;
    switch (node.type) {
      case archive::EntryType::kFolder:
        CR_TRY(WriteFolder(id));
        break;
      case archive::EntryType::kSymlink:
        node.size = node.target.size();
        if (node.target.size() >= kFastLinkBytes) {
          CR_TRY(writer.Write(
              0, {reinterpret_cast<const uint8_t*>(node.target.data()), node.target.size()}));
          CR_TRY_ASSIGN(node.extents, writer.EndFile());
        } else {
          roots[id] = {};
          std::ranges::copy(node.target, roots[id].begin());
          return {};
        }
        break;
      case archive::EntryType::kCharDevice:
      case archive::EntryType::kBlockDevice: {
        roots[id] = {};
        const uint32_t major = node.device_major, minor = node.device_minor;
        const bool old_form = major < 256 && minor < 256;
        const uint32_t value = old_form ? (major << 8) | minor
                                        : (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
        std::memcpy(roots[id].data() + (old_form ? 0 : 4), &value, 4);
        return {};
      }
      case archive::EntryType::kFifo:
        roots[id] = {};
        return {};
      default:
        break;
    }
    return WriteExtents(id);
  }

  static bool HasExtents(const Tree::Node& node) {
    return node.type == archive::EntryType::kFile || node.type == archive::EntryType::kFolder ||
           (node.type == archive::EntryType::kSymlink && node.target.size() >= kFastLinkBytes);
  }

  Result<void> Format() {
    const uint64_t inodes = kFirstInode + node_of.size();
    uint64_t groups = 1, inodes_per_group = 0;
    while (true) {
      inodes_per_group = (inodes + groups - 1) / groups;
      inodes_per_group =
          (inodes_per_group + kInodesPerBlock - 1) / kInodesPerBlock * kInodesPerBlock;
      const uint64_t need =
          writer.next_block_ + groups * (2 + inodes_per_group / kInodesPerBlock) + xattr_nodes + 64;
      const uint64_t need_groups = std::max((need + kBlocksPerGroup - 1) / kBlocksPerGroup,
                                            (inodes + kMaxInodesPerGroup - 1) / kMaxInodesPerGroup);
      if (need_groups > kMaxGroups)
        return Err(ErrorCode::kResourceExhausted, "this is larger than a file system can be");
      if (need_groups <= groups) break;
      groups = need_groups;
    }
    const uint64_t blocks = groups * kBlocksPerGroup;
    if (::ftruncate(writer.fd_.get(), static_cast<off_t>(blocks * kBlock)) != 0) {
      return ErrErrno(ErrorCode::kResourceExhausted, "make room for a file system");
    }
    ext2_super_block param = {};
    ext2fs_blocks_count_set(&param, blocks);
    param.s_log_block_size = 2;
    param.s_log_cluster_size = 2;
    param.s_rev_level = EXT2_DYNAMIC_REV;
    param.s_inode_size = kInodeBytes;
    param.s_inodes_count = static_cast<uint32_t>(groups * inodes_per_group);
    param.s_log_groups_per_flex = 4;
    param.s_feature_compat = EXT4_FEATURE_COMPAT_SPARSE_SUPER2 | EXT2_FEATURE_COMPAT_EXT_ATTR;
    param.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                               EXT4_FEATURE_INCOMPAT_FLEX_BG;
    param.s_feature_ro_compat =
        EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
        EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE;
    CR_EXT2(
        ext2fs_initialize(writer.path_.c_str(), EXT2_FLAG_64BITS, &param, unix_io_manager, &fs));
    if (fs->group_desc_count != groups ||
        uint64_t{fs->inode_blocks_per_group} * kInodesPerBlock != inodes_per_group ||
        1 + fs->desc_blocks > kFirstDataBlock) {
      return Err(ErrorCode::kInternal,
                 "libext2fs laid the file system out in another way than expected");
    }
    ext2_super_block& super = *fs->super;
    super.s_state = EXT2_VALID_FS;
    super.s_max_mnt_count = -1;
    super.s_min_extra_isize = super.s_want_extra_isize =
        sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    super.s_mkfs_time = super.s_lastcheck = super.s_wtime = 0;
    const std::string seed = DigestOf(identity);
    for (size_t i = 0; i < sizeof(super.s_uuid); ++i) {
      super.s_uuid[i] = static_cast<uint8_t>(std::stoul(seed.substr(7 + 2 * i, 2), nullptr, 16));
    }
    super.s_uuid[6] = (super.s_uuid[6] & 0x0f) | 0x40;
    super.s_uuid[8] = (super.s_uuid[8] & 0x3f) | 0x80;
    return {};
  }

  void Mark(uint64_t first, uint64_t count) {
    ext2fs_mark_block_bitmap_range2(fs->block_map, first, static_cast<unsigned>(count));
  }

  void MarkBlocks() {
    Mark(kFirstDataBlock, writer.next_block_ - kFirstDataBlock);
    for (const Extent& extent : writer.released_) {
      ext2fs_unmark_block_bitmap_range2(fs->block_map, extent.physical, extent.count);
    }
    uint64_t next = writer.next_block_;
    const auto take = [&](uint64_t count) {
      Mark(next, count);
      return std::exchange(next, next + count);
    };
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group)
      ext2fs_block_bitmap_loc_set(fs, group, take(1));
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group)
      ext2fs_inode_bitmap_loc_set(fs, group, take(1));
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
      ext2fs_inode_table_loc_set(fs, group, take(fs->inode_blocks_per_group));
    }
  }

  uint32_t FolderLinks(Tree::NodeId id) const {
    uint64_t links = 2;
    for (const auto& [name, child] : *tree.node(id).children)
      links += tree.node(child.node).type == archive::EntryType::kFolder;
    return links >= kMaxFolderLinks ? 1 : static_cast<uint32_t>(links);
  }

  Result<void> WriteInode(Tree::NodeId id) {
    const Tree::Node& node = tree.node(id);
    ext2_inode_large inode = {};
    // Links have no permissions of their own on Linux.
    inode.i_mode = static_cast<uint16_t>(
        TypeBits(node.type) |
        (node.type == archive::EntryType::kSymlink ? 0777 : node.permissions));
    inode.i_uid = static_cast<uint16_t>(node.uid);
    inode.osd2.linux2.l_i_uid_high = static_cast<uint16_t>(node.uid >> 16);
    inode.i_gid = static_cast<uint16_t>(node.gid);
    inode.osd2.linux2.l_i_gid_high = static_cast<uint16_t>(node.gid >> 16);
    inode.i_size = static_cast<uint32_t>(node.size);
    inode.i_size_high = static_cast<uint32_t>(node.size >> 32);
    inode.i_extra_isize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    SetTime(node.mtime, node.mtime_nsec, inode.i_mtime, inode.i_mtime_extra);
    inode.i_atime = inode.i_ctime = inode.i_crtime = inode.i_mtime;
    inode.i_atime_extra = inode.i_ctime_extra = inode.i_crtime_extra = inode.i_mtime_extra;
    inode.i_links_count = static_cast<uint16_t>(
        node.type == archive::EntryType::kFolder ? FolderLinks(id) : node.names);
    uint64_t blocks = extra_blocks[id];
    for (const Extent& extent : node.extents) blocks += extent.count;
    if (HasExtents(node)) inode.i_flags |= EXT4_EXTENTS_FL;
    inode.i_blocks = static_cast<uint32_t>(blocks * (kBlock / 512));
    inode.osd2.linux2.l_i_blocks_hi = static_cast<uint16_t>(blocks * (kBlock / 512) >> 32);
    std::memcpy(inode.i_block, roots[id].data(), sizeof(inode.i_block));
    const uint32_t number = inode_of[id];
    CR_EXT2(
        ext2fs_write_inode_full(fs, number, reinterpret_cast<ext2_inode*>(&inode), sizeof(inode)));
    ext2fs_mark_inode_bitmap2(fs->inode_map, number);
    if (node.type == archive::EntryType::kFolder) {
      const dgrp_t group = ext2fs_group_of_ino(fs, number);
      ext2fs_bg_used_dirs_count_set(fs, group, ext2fs_bg_used_dirs_count(fs, group) + 1);
    }
    return {};
  }

  Result<void> WriteXattrs(Tree::NodeId id) {
    const Tree::Node& node = tree.node(id);
    ext2_xattr_handle* handle = nullptr;
    CR_EXT2(ext2fs_xattrs_open(fs, inode_of[id], &handle));
    errcode_t code = ext2fs_xattrs_read(handle);
    for (const archive::Xattr& xattr : node.xattrs) {
      const bool known = xattr.name.starts_with("user.") || xattr.name.starts_with("trusted.") ||
                         xattr.name.starts_with("security.") ||
                         xattr.name == "system.posix_acl_access" ||
                         xattr.name == "system.posix_acl_default";
      if (!known || code != 0) continue;  // of another kind of system: it would mean nothing here
      code = ext2fs_xattr_set(handle, xattr.name.c_str(), xattr.value.data(), xattr.value.size());
    }
    ext2fs_xattrs_close(&handle);
    if (code != 0) return Ext2Error(code, "extended attributes");
    return {};
  }

  void Count() {
    uint64_t all_free_blocks = 0;
    uint32_t all_free_inodes = 0;
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
      const uint64_t first = ext2fs_group_first_block2(fs, group);
      uint32_t used = 0;
      for (uint64_t block = first; block < first + kBlocksPerGroup; ++block) {
        used += ext2fs_fast_test_block_bitmap2(fs->block_map, block) != 0;
      }
      ext2fs_bg_free_blocks_count_set(fs, group, kBlocksPerGroup - used);
      all_free_blocks += kBlocksPerGroup - used;
      const uint32_t per_group = fs->super->s_inodes_per_group;
      uint32_t free_inodes = 0;
      for (uint32_t i = 1; i <= per_group; ++i) {
        free_inodes += ext2fs_fast_test_inode_bitmap2(fs->inode_map, group * per_group + i) == 0;
      }
      ext2fs_bg_free_inodes_count_set(fs, group, free_inodes);
      all_free_inodes += free_inodes;
    }
    ext2fs_free_blocks_count_set(fs->super, all_free_blocks);
    fs->super->s_free_inodes_count = all_free_inodes;
  }

  Result<uint64_t> Run() {
    const size_t slots = tree.slots();
    inode_of = InodeNumbers(tree);
    folder_parent.resize(slots);
    extra_blocks.resize(slots);
    roots.resize(slots);
    folder_parent[Tree::kRoot] = inode_of[Tree::kRoot];
    Order();
    CR_TRY(WriteContent(Tree::kRoot));
    for (const Tree::NodeId id : node_of) CR_TRY(WriteContent(id));
    CR_TRY(writer.Flush());
    CR_TRY(Format());
    MarkBlocks();
    for (uint32_t number = 1; number < kFirstInode; ++number)
      ext2fs_mark_inode_bitmap2(fs->inode_map, number);
    CR_TRY(WriteInode(Tree::kRoot));
    for (const Tree::NodeId id : node_of) CR_TRY(WriteInode(id));
    if (!tree.node(Tree::kRoot).xattrs.empty()) CR_TRY(WriteXattrs(Tree::kRoot));
    for (const Tree::NodeId id : node_of) {
      if (!tree.node(id).xattrs.empty()) CR_TRY(WriteXattrs(id));
    }
    Count();
    ext2fs_mark_super_dirty(fs);
    ext2fs_mark_bb_dirty(fs);
    ext2fs_mark_ib_dirty(fs);
    const uint64_t bytes = ext2fs_blocks_count(fs->super) * kBlock;
    fs->now = 1;  // what libext2fs stamps the superblock with: the same bytes every time
    CR_EXT2(ext2fs_close_free(&fs));
    if (::fsync(writer.fd_.get()) != 0)
      return ErrErrno(ErrorCode::kInternal, "fsync a file system");
    return bytes;
  }
};

Result<uint64_t> Writer::Finish(Tree& tree, std::string_view identity) {
  Builder builder{.writer = *this, .tree = tree, .identity = identity};
  return builder.Run();
}

}  // namespace cleanroom::ext4
