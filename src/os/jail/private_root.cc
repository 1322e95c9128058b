#include "os/jail/private_root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <optional>

#include "os/unique_fd.h"

namespace cleanroom::os {
namespace {

enum class Access { kReadOnly, kWritable, kDevice };

struct Entry {
  std::string path;
  Access access;
  std::string target;  // in the new root
};

std::unexpected<Error> Failed(std::string_view what) {
  return ErrErrno(ErrorCode::kFailedPrecondition, fmt::format("make a private root: {}", what));
}

// "/a/b" as seen from the new root's descriptor.
std::string Relative(const std::string& path) {
  const size_t begin = path.find_first_not_of('/');
  return begin == std::string::npos ? "." : path.substr(begin);
}

Result<void> MakeParents(int root, const std::string& relative) {
  for (size_t slash = relative.find('/'); slash != std::string::npos;
       slash = relative.find('/', slash + 1)) {
    const std::string parent = relative.substr(0, slash);
    if (mkdirat(root, parent.c_str(), 0755) != 0 && errno != EEXIST) return Failed(parent);
  }
  return {};
}

// What goes to one path of the new root: a copy of a mount tree, or a link.
struct Piece {
  std::string relative;
  UniqueFd tree;
  bool is_directory = false;
  std::string link;
};

Result<Piece> TakeLink(const Entry& entry) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = readlink(entry.path.c_str(), target.data(), target.size());
  if (size < 0 || static_cast<size_t>(size) == target.size()) return Failed(entry.path);
  return Piece{.relative = Relative(entry.target),
               .tree = {},
               .link = std::string(target.data(), static_cast<size_t>(size))};
}

// Nothing when the host has no such path.
Result<std::optional<Piece>> Take(const Entry& entry) {
  struct stat info;
  if (lstat(entry.path.c_str(), &info) != 0) {
    if (errno == ENOENT) return std::nullopt;
    return Failed(entry.path);
  }
  if (S_ISLNK(info.st_mode)) return TakeLink(entry);

  UniqueFd tree(
      open_tree(AT_FDCWD, entry.path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree) return Failed(entry.path);
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_NOSUID;
  if (entry.access != Access::kDevice) attributes.attr_set |= MOUNT_ATTR_NODEV;
  if (entry.access == Access::kReadOnly) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (entry.access == Access::kWritable) attributes.attr_set |= MOUNT_ATTR_NOEXEC;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) !=
      0) {
    return Failed(entry.path);
  }
  return Piece{.relative = Relative(entry.target),
               .tree = std::move(tree),
               .is_directory = S_ISDIR(info.st_mode),
               .link = {}};
}

Result<void> Put(int root, const Piece& piece) {
  const char* path = piece.relative.c_str();
  CR_TRY(MakeParents(root, piece.relative));
  if (!piece.link.empty()) {
    if (symlinkat(piece.link.c_str(), root, path) != 0 && errno != EEXIST) return Failed(path);
    return {};
  }
  // Below another piece the place is there already.
  const int made =
      piece.is_directory ? mkdirat(root, path, 0755) : mknodat(root, path, S_IFREG | 0644, 0);
  if (made != 0 && errno != EEXIST) return Failed(path);
  if (move_mount(piece.tree.get(), "", root, path, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return Failed(path);
  }
  return {};
}

void AddEntries(const std::string& prefix, const PrivateRootConfig& config,
                std::vector<Entry>& entries) {
  const auto add = [&](const std::vector<std::string>& paths, Access access) {
    for (const std::string& path : paths) entries.push_back({path, access, prefix + path});
  };
  add(config.read_only, Access::kReadOnly);
  add(config.writable, Access::kWritable);
  add(config.devices, Access::kDevice);
}

Result<UniqueFd> MakeEmptyRoot() {
  const UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context || fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "64k", 0) != 0 ||
      fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0755", 0) != 0 ||
      fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return Failed("tmpfs");
  }
  UniqueFd root(fsmount(context.get(), FSMOUNT_CLOEXEC,
                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!root) return Failed("tmpfs");
  // Things can be mounted only on what is mounted itself. Every system has /usr; it lies over it
  // only until the roots are exchanged.
  if (move_mount(root.get(), "", AT_FDCWD, "/usr", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return Failed("/usr");
  }
  return root;
}

}  // namespace

PrivateRootConfig ProgramsOnly() {
  return {.read_only = {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
                        "/etc/ld.so.cache"},
          .writable = {},
          .devices = {"/dev/null"}};
}

Result<void> EnterPrivateRoot(const PrivateRootConfig& config,
                              const std::vector<InnerRoot>& inner) {
  std::vector<Entry> entries;
  AddEntries("", config, entries);
  for (const InnerRoot& root : inner) AddEntries(root.at, root.files, entries);
  // Parents before what lies in them.
  std::ranges::stable_sort(entries, {}, &Entry::target);
  for (const Entry& entry : entries) {
    if (!entry.path.starts_with('/')) {
      return Err(ErrorCode::kInvalidArgument, fmt::format("{} is no absolute path", entry.path));
    }
  }
  if (unshare(CLONE_NEWNS) != 0) return Failed("unshare");
  // What is mounted here later stays here; what is unmounted on the host goes away here too.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return Failed("propagation");

  std::vector<Piece> pieces;
  for (const Entry& entry : entries) {
    CR_TRY_ASSIGN(std::optional<Piece> piece, Take(entry));
    if (piece) pieces.push_back(*std::move(piece));
  }
  CR_TRY_ASSIGN(const UniqueFd root, MakeEmptyRoot());
  for (const Piece& piece : pieces) CR_TRY(Put(root.get(), piece));
  for (const std::string& folder : config.empty) {
    if (mkdirat(root.get(), folder.c_str() + 1, 0555) != 0) return Failed(folder);
  }
  if (fchdir(root.get()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
      umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
    return Failed("pivot");
  }
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (mount_setattr(AT_FDCWD, "/", 0, &attributes, sizeof attributes) != 0) return Failed("seal");
  return {};
}

}  // namespace cleanroom::os
