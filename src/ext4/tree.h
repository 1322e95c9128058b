// The tree of files that a file system is made of: everything but file content, in memory. Of an
// image, while its layers are applied (Apply); or of anything else, whose names mean themselves (Add).
//
// Paths come from hostile tars. The rules for an image's layers (containerd's and umoci's, made strict):
//  - a path is relative, has no "..", and no component over 255 bytes: else data_corrupt;
//  - parents that are symbolic links are followed inside the image only, an absolute target meaning
//    the tree's root; a link that climbs above the root, or leads to a folder the tree does not
//    have, is refused;
//  - the last component is never followed: an entry replaces what is there (a folder over a folder
//    keeps the content), whiteouts (".wh.NAME", ".wh..wh..opq") hide what lower layers put there,
//    never their own layer's.
// Missing parents are made, owned by root with mode 0755 and time 0. Nothing here touches the
// host's file system.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "archive/limits.h"
#include "archive/tar_reader.h"
#include "base/result.h"

namespace cleanroom::ext4 {

// A run of blocks that holds a part of a file.
struct Extent {
  uint32_t logical = 0;   // first block within the file
  uint64_t physical = 0;  // first block within the file system
  uint32_t count = 0;
};

class Tree {
 public:
  using NodeId = uint32_t;
  static constexpr NodeId kRoot = 0;

  struct Child {
    NodeId node;
    uint32_t layer;  // the last layer that named it, or something below it
  };
  using Children =
      std::map<std::string, Child, std::less<>>;  // sorted: the result does not depend on tar order

  struct Node {
    archive::EntryType type = archive::EntryType::kFolder;  // never kHardLink
    uint16_t permissions = 0755;
    uint32_t uid = 0, gid = 0;
    uint32_t names = 0;  // folder entries that lead here
    uint32_t mtime_nsec = 0;
    int64_t mtime = 0;
    uint64_t size = 0;
    uint32_t device_major = 0, device_minor = 0;
    std::string target;
    std::vector<archive::Xattr> xattrs;
    std::vector<Extent> extents;
    std::unique_ptr<Children> children;  // of folders
  };

  explicit Tree(const archive::Limits& limits);

  void BeginLayer() { ++layer_; }
  // Applies one entry. For a kFile the answer is the node that is to get the extents; else what the
  // entry made, or kRoot when it made nothing.
  Result<NodeId> Apply(const archive::TarEntry& entry);

  // Adds one entry, no hard link, as it stands: a name like ".wh.x" is a name. Each parent must be a
  // folder, and what is there already stays: data_corrupt otherwise, but for a folder that is named
  // again. The answer is the entry's node.
  Result<NodeId> Add(const archive::TarEntry& entry);

  Node& node(NodeId id) { return nodes_[id]; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  // Extents of files that later entries removed, since the last call.
  std::vector<Extent> TakeReleased() { return std::exchange(released_, {}); }
  // Node ids are below this.
  size_t slots() const { return nodes_.size(); }

 private:
  // Where an entry goes: the folders from the root to its parent, and its own name (empty for the
  // root itself).
  struct Place {
    std::vector<NodeId> folders;
    std::vector<Child*> entries;  // of those folders but the root
    std::string name;
  };
  Result<std::vector<std::string_view>> Split(std::string_view path, bool allow_absolute) const;
  Result<Place> Locate(std::string_view path, bool create, bool allow_absolute);
  Result<NodeId> NewNode();
  Result<void> Charge(std::string_view name, const archive::TarEntry& entry);
  Result<NodeId> Insert(const Place& place, const archive::TarEntry& entry);
  Result<void> Link(const Place& place, const archive::TarEntry& entry);
  void Hide(Children& children, Children::iterator it);
  void Remove(Children& children, Children::iterator it);
  void Release(NodeId id);

  archive::Limits limits_;
  uint32_t layer_ = 0;
  uint64_t metadata_bytes_ = 0;  // of all entries so far
  std::vector<Node> nodes_;
  std::vector<NodeId> free_;
  std::vector<Extent> released_;
};

}  // namespace cleanroom::ext4
