#include "tests/support/file_tree.h"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <fmt/format.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

namespace cleanroom::testing {
namespace fs = std::filesystem;
namespace {

struct Item {
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0, links = 0;
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  uint64_t inode = 0;
  std::string detail = {};
  std::map<std::string, std::string> xattrs = {};
};

using Items = std::map<std::string, Item>;

std::string Line(const Item& item) {
  std::string out = fmt::format("{:06o} {}:{} {}.{:09}", item.mode, item.uid, item.gid,
                                item.seconds, item.nanoseconds);
  if (!S_ISDIR(item.mode)) out += fmt::format(" links={}", item.links);
  out += " " + item.detail;
  for (const auto& [name, value] : item.xattrs) {
    out += " " + name + "=";
    for (const unsigned char c : value) out += fmt::format("{:02x}", c);
  }
  return out;
}

FileTree Lines(const Items& items) {
  FileTree out;
  std::map<uint64_t, std::string> first;  // of a group of hard links, by inode
  for (const auto& [name, item] : items) {
    std::string line = Line(item);
    if (!S_ISDIR(item.mode) && item.links > 1) {
      const auto [it, fresh] = first.emplace(item.inode, name);
      line += " same-as=" + it->second;
    }
    out.emplace(name, std::move(line));
  }
  return out;
}

std::string Content(const std::string& bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  std::string out = fmt::format("size={} ", bytes.size());
  for (int i = 0; i < 8; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

std::string Device(unsigned major, unsigned minor) {
  return fmt::format("device={}:{}", major, minor);
}

void ListHost(const fs::path& path, const std::string& name, Items& out) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) std::abort();
  Item item{.mode = st.st_mode,
            .uid = st.st_uid,
            .gid = st.st_gid,
            .links = static_cast<uint32_t>(st.st_nlink),
            .seconds = st.st_mtim.tv_sec,
            .nanoseconds = static_cast<uint32_t>(st.st_mtim.tv_nsec),
            .inode = st.st_ino};
  if (S_ISLNK(st.st_mode)) item.detail = "-> " + fs::read_symlink(path).string();
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
    item.detail = Device(major(st.st_rdev), minor(st.st_rdev));
  if (S_ISREG(st.st_mode)) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    item.detail = Content(content.str());
  }
  char names[65536];
  const ssize_t size = ::llistxattr(path.c_str(), names, sizeof(names));
  for (const char* at = names; at < names + std::max<ssize_t>(size, 0);
       at += std::string_view(at).size() + 1) {
    char value[65536];
    const ssize_t n = ::lgetxattr(path.c_str(), at, value, sizeof(value));
    if (n >= 0) item.xattrs[at] = std::string(value, static_cast<size_t>(n));
  }
  out[name] = item;
  if (!S_ISDIR(st.st_mode)) return;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string child = name + (name.empty() ? "" : "/");
    ListHost(entry.path(), child + entry.path().filename().string(), out);
  }
}

void Check(errcode_t code, const char* what) {
  if (code == 0) return;
  std::fprintf(stderr, "reading the ext4 image: %s: %ld\n", what, static_cast<long>(code));
  std::abort();
}

std::string ReadContent(ext2_filsys image, ext2_ino_t inode) {
  ext2_file_t file = nullptr;
  Check(ext2fs_file_open(image, inode, 0, &file), "open");
  __u64 size = 0;
  Check(ext2fs_file_get_lsize(file, &size), "size");
  std::string out(size, '\0');
  for (size_t done = 0; done < out.size();) {
    unsigned got = 0;
    Check(
        ext2fs_file_read(file, out.data() + done,
                         static_cast<unsigned>(std::min<size_t>(out.size() - done, 1 << 20)), &got),
        "read");
    if (got == 0) Check(EIO, "short file");
    done += got;
  }
  ext2fs_file_close(file);
  return out;
}

struct Entry {
  std::string name;
  ext2_ino_t inode;
};

int OnEntry(ext2_dir_entry* entry, int, int, char*, void* list) {
  const std::string name(entry->name, static_cast<size_t>(ext2fs_dirent_name_len(entry)));
  if (name != "." && name != "..")
    static_cast<std::vector<Entry>*>(list)->push_back({name, entry->inode});
  return 0;
}

int OnXattr(char* name, char* value, size_t size, void* map) {
  (*static_cast<std::map<std::string, std::string>*>(map))[name] = std::string(value, size);
  return 0;
}

void ListImage(ext2_filsys image, ext2_ino_t number, const std::string& name, Items& out) {
  ext2_inode_large inode = {};
  Check(ext2fs_read_inode_full(image, number, reinterpret_cast<ext2_inode*>(&inode), sizeof(inode)),
        "inode");
  Item item{.mode = inode.i_mode,
            .uid = inode_uid(inode),
            .gid = inode_gid(inode),
            .links = inode.i_links_count,
            .seconds = static_cast<int32_t>(inode.i_mtime) +
                       (static_cast<int64_t>(inode.i_mtime_extra & 3) << 32),
            .nanoseconds = inode.i_mtime_extra >> 2,
            .inode = number};
  if (LINUX_S_ISLNK(inode.i_mode)) {
    const bool fast = inode.i_size < sizeof(inode.i_block);
    item.detail = "-> " + (fast ? std::string(reinterpret_cast<char*>(inode.i_block), inode.i_size)
                                : ReadContent(image, number));
  }
  if (LINUX_S_ISCHR(inode.i_mode) || LINUX_S_ISBLK(inode.i_mode)) {
    const uint32_t old_form = inode.i_block[0], new_form = inode.i_block[1];
    item.detail = old_form != 0 ? Device(old_form >> 8, old_form & 0xff)
                                : Device((new_form >> 8) & 0xfff,
                                         (new_form & 0xff) | ((new_form >> 12) & 0xfff00));
  }
  if (LINUX_S_ISREG(inode.i_mode)) item.detail = Content(ReadContent(image, number));
  ext2_xattr_handle* handle = nullptr;
  Check(ext2fs_xattrs_open(image, number, &handle), "xattrs");
  Check(ext2fs_xattrs_read(handle), "xattrs");
  ext2fs_xattrs_iterate(handle, OnXattr, &item.xattrs);
  ext2fs_xattrs_close(&handle);
  out[name] = item;
  if (!LINUX_S_ISDIR(inode.i_mode)) return;
  std::vector<Entry> entries;
  Check(ext2fs_dir_iterate(image, number, 0, nullptr, OnEntry, &entries), "folder");
  for (const Entry& entry : entries)
    ListImage(image, entry.inode, name.empty() ? entry.name : name + "/" + entry.name, out);
}

}  // namespace

FileTree ListFolder(const std::string& folder) {
  Items items;
  ListHost(folder, "", items);
  return Lines(items);
}

FileTree ListExt4(const std::string& file) {
  ext2_filsys image = nullptr;
  Check(ext2fs_open(file.c_str(), EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &image), file.c_str());
  Items items;
  ListImage(image, EXT2_ROOT_INO, "", items);
  ext2fs_free(image);
  return Lines(items);
}

std::string Differences(const FileTree& expected, const FileTree& actual) {
  std::string out;
  int lines = 0;
  std::set<std::string> names;
  for (const auto& [name, line] : expected) names.insert(name);
  for (const auto& [name, line] : actual) names.insert(name);
  for (const std::string& name : names) {
    const auto a = expected.find(name), b = actual.find(name);
    if (a != expected.end() && b != actual.end() && a->second == b->second) continue;
    if (++lines > 20) return out + "…\n";
    out += fmt::format("{}\n  expected {}\n  actual   {}\n", name,
                       a == expected.end() ? "nothing" : a->second,
                       b == actual.end() ? "nothing" : b->second);
  }
  return out;
}

}  // namespace cleanroom::testing
