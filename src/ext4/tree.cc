#include "ext4/tree.h"

#include <fmt/format.h>

#include <algorithm>

namespace cleanroom::ext4 {
namespace {

constexpr size_t kMaxNameBytes = 255;
constexpr int kMaxLinksFollowed = 40;  // what Linux follows
constexpr uint32_t kMaxNames = 65000;  // hard links to one file on ext4

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::string_view kAufsMetadata = ".wh..wh.";

std::string_view Shown(std::string_view path) { return path.substr(0, 200); }

template <typename... Args>
std::unexpected<Error> Refuse(fmt::format_string<Args...> format, Args&&... args) {
  return Err(ErrorCode::kDataCorrupt, fmt::format(format, std::forward<Args>(args)...));
}

void SetMetadata(Tree::Node& node, const archive::TarEntry& entry) {
  node.type = entry.type;
  node.permissions = static_cast<uint16_t>(entry.permissions);
  node.uid = entry.uid;
  node.gid = entry.gid;
  node.mtime = entry.mtime;
  node.mtime_nsec = entry.mtime_nsec;
  node.size = entry.size;
  node.device_major = entry.device_major;
  node.device_minor = entry.device_minor;
  node.target = entry.target;
  node.xattrs = entry.xattrs;
}

}  // namespace

Tree::Tree(const archive::Limits& limits) : limits_(limits) {
  nodes_.emplace_back();
  nodes_[kRoot].names = 1;
  nodes_[kRoot].children = std::make_unique<Children>();
}

Result<std::vector<std::string_view>> Tree::Split(std::string_view path,
                                                  bool allow_absolute) const {
  if (path.starts_with('/') && !allow_absolute)
    return Refuse("the tar has the absolute path '{}'", Shown(path));
  std::vector<std::string_view> out;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return Refuse("the tar has a path with '..': '{}'", Shown(path));
    if (part.size() > kMaxNameBytes) {
      return Refuse("the tar has a name longer than {} bytes: '{}…'", kMaxNameBytes, Shown(path));
    }
    out.push_back(part);
    if (out.size() > limits_.max_depth)
      return Refuse("the tar has a path deeper than {}: '{}…'", limits_.max_depth, Shown(path));
  }
  return out;
}

Result<Tree::NodeId> Tree::NewNode() {
  if (!free_.empty()) {
    const NodeId id = free_.back();
    free_.pop_back();
    nodes_[id] = Node();
    return id;
  }
  // Parents that no entry named count too: one path may imply many.
  if (nodes_.size() > limits_.max_entries) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("more than {} files", limits_.max_entries));
  }
  nodes_.emplace_back();
  return static_cast<NodeId>(nodes_.size() - 1);
}

Result<void> Tree::Charge(std::string_view name, const archive::TarEntry& entry) {
  metadata_bytes_ += name.size() + entry.target.size();
  for (const archive::Xattr& xattr : entry.xattrs)
    metadata_bytes_ += sizeof(archive::Xattr) + xattr.name.size() + xattr.value.size();
  if (metadata_bytes_ <= limits_.max_metadata_bytes) return {};
  return Err(ErrorCode::kResourceExhausted,
             fmt::format("more than {} bytes of names, link targets and extended attributes",
                         limits_.max_metadata_bytes));
}

Result<Tree::Place> Tree::Locate(std::string_view path, bool create, bool allow_absolute) {
  CR_TRY_ASSIGN(const std::vector<std::string_view> parts, Split(path, allow_absolute));
  Place place;
  place.folders = {kRoot};
  if (parts.empty()) return place;
  place.name = parts.back();

  struct Pending {
    std::string name;
    bool from_link;
  };
  std::vector<Pending> pending;  // next one last
  for (size_t i = parts.size() - 1; i-- > 0;) pending.push_back({std::string(parts[i]), false});
  int links = 0;
  while (!pending.empty()) {
    const Pending next = std::move(pending.back());
    pending.pop_back();
    if (next.name.empty() || next.name == ".") continue;
    if (next.name == "..") {  // only links have these: Split refuses them
      if (place.folders.size() == 1)
        return Refuse("the path '{}' leaves the root through a symbolic link", Shown(path));
      place.folders.pop_back();
      place.entries.pop_back();
      continue;
    }
    Children& children = *nodes_[place.folders.back()].children;
    auto it = children.find(next.name);
    if (it == children.end()) {
      if (next.from_link) {
        return Refuse("the path '{}' goes through a symbolic link to a folder that is not there",
                      Shown(path));
      }
      if (!create) return Err(ErrorCode::kNotFound, fmt::format("there is no '{}'", Shown(path)));
      CR_TRY(Charge(next.name, {}));
      CR_TRY_ASSIGN(const NodeId made, NewNode());
      nodes_[made].children = std::make_unique<Children>();
      nodes_[made].names = 1;
      // NewNode may have moved the nodes, but not the children they own.
      it = children.emplace(next.name, Child{made, layer_}).first;
    }
    const Node& node = nodes_[it->second.node];
    if (node.type == archive::EntryType::kSymlink) {
      if (++links > kMaxLinksFollowed)
        return Refuse("the path '{}' goes through a loop of symbolic links", Shown(path));
      if (node.target.starts_with('/')) {
        place.folders.resize(1);
        place.entries.clear();
      }
      const std::string target = node.target;
      for (size_t end = target.size();;) {
        const size_t slash = end == 0 ? std::string::npos : target.rfind('/', end - 1);
        const size_t begin = slash == std::string::npos ? 0 : slash + 1;
        pending.push_back({target.substr(begin, end - begin), true});
        if (slash == std::string::npos) break;
        end = slash;
      }
      continue;
    }
    if (node.type != archive::EntryType::kFolder)
      return Refuse("the path '{}' goes through something that is no folder", Shown(path));
    place.folders.push_back(it->second.node);
    place.entries.push_back(&it->second);
    if (place.folders.size() > limits_.max_depth)
      return Refuse("the path '{}' is deeper than {}", Shown(path), limits_.max_depth);
  }
  return place;
}

Result<Tree::NodeId> Tree::Apply(const archive::TarEntry& entry) {
  const size_t slash = entry.path.find_last_not_of('/');
  const std::string_view trimmed =
      std::string_view(entry.path).substr(0, slash == std::string::npos ? 0 : slash + 1);
  const std::string_view base = trimmed.substr(trimmed.rfind('/') + 1);
  if (base.starts_with(kWhiteout)) {
    const std::string_view hidden = base.substr(kWhiteout.size());
    if (base != kOpaque && base.starts_with(kAufsMetadata)) return kRoot;
    if (hidden.empty() || hidden == "." || hidden == "..") {
      return Refuse("the tar has the malformed whiteout '{}'", Shown(entry.path));
    }
    Result<Place> place = Locate(entry.path, /*create=*/false, /*allow_absolute=*/false);
    if (!place) {
      if (place.error().code() == ErrorCode::kNotFound) return kRoot;
      return Err(std::move(place).error());
    }
    Children& children = *nodes_[place->folders.back()].children;
    if (base == kOpaque) {
      for (auto it = children.begin(); it != children.end();) Hide(children, it++);
    } else if (const auto it = children.find(hidden); it != children.end()) {
      Hide(children, it);
    }
    return kRoot;
  }
  CR_TRY_ASSIGN(const Place place, Locate(entry.path, /*create=*/true, /*allow_absolute=*/false));
  for (Child* child : place.entries) child->layer = layer_;
  CR_TRY(Charge(place.name, entry));
  if (entry.type == archive::EntryType::kHardLink) {
    CR_TRY(Link(place, entry));
    return kRoot;
  }
  return Insert(place, entry);
}

Result<Tree::NodeId> Tree::Add(const archive::TarEntry& entry) {
  CR_TRY_ASSIGN(const std::vector<std::string_view> parts,
                Split(entry.path, /*allow_absolute=*/false));
  CR_TRY(Charge(parts.empty() ? std::string_view() : parts.back(), entry));
  Place place{.folders = {kRoot}, .entries = {}, .name = {}};
  if (!parts.empty()) place.name = parts.back();
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const std::string_view part = parts[i];
    Children& children = *nodes_[place.folders.back()].children;
    auto it = children.find(part);
    if (it == children.end()) {
      CR_TRY(Charge(part, {}));
      CR_TRY_ASSIGN(const NodeId made, NewNode());
      nodes_[made].children = std::make_unique<Children>();
      nodes_[made].names = 1;
      it = children.emplace(part, Child{made, layer_}).first;
    }
    if (nodes_[it->second.node].type != archive::EntryType::kFolder)
      return Refuse("the path '{}' goes through something that is no folder", Shown(entry.path));
    place.folders.push_back(it->second.node);
  }
  const Children& siblings = *nodes_[place.folders.back()].children;
  const auto existing = siblings.find(place.name);
  if (existing != siblings.end() &&
      (entry.type != archive::EntryType::kFolder ||
       nodes_[existing->second.node].type != archive::EntryType::kFolder)) {
    return Refuse("the path '{}' is there twice", Shown(entry.path));
  }
  return Insert(place, entry);
}

Result<Tree::NodeId> Tree::Insert(const Place& place, const archive::TarEntry& entry) {
  if (place.name.empty()) {
    if (entry.type != archive::EntryType::kFolder)
      return Refuse("the tar replaces the root folder by something else");
    SetMetadata(nodes_[kRoot], entry);
    return kRoot;
  }
  Children& children = *nodes_[place.folders.back()].children;
  const auto existing = children.find(place.name);
  if (existing != children.end()) {
    if (entry.type == archive::EntryType::kFolder &&
        nodes_[existing->second.node].type == archive::EntryType::kFolder) {
      SetMetadata(nodes_[existing->second.node], entry);
      existing->second.layer = layer_;
      return existing->second.node;
    }
    Remove(children, existing);
  }
  CR_TRY_ASSIGN(const NodeId id, NewNode());
  Node& node = nodes_[id];
  SetMetadata(node, entry);
  node.names = 1;
  if (entry.type == archive::EntryType::kFolder) node.children = std::make_unique<Children>();
  children.emplace(place.name, Child{id, layer_});
  return id;
}

Result<void> Tree::Link(const Place& place, const archive::TarEntry& entry) {
  // Docker and others write absolute targets, meaning the image's root.
  Result<Place> from = Locate(entry.target, /*create=*/false, /*allow_absolute=*/true);
  const Children* source = from ? nodes_[from->folders.back()].children.get() : nullptr;
  const auto it = source != nullptr ? source->find(from->name) : Children::const_iterator();
  if (!from && from.error().code() != ErrorCode::kNotFound) return Err(std::move(from).error());
  if (!from || from->name.empty() || place.name.empty() || it == source->end()) {
    return Refuse("the hard link '{}' is to '{}', which is not there", Shown(entry.path),
                  Shown(entry.target));
  }
  const NodeId id = it->second.node;
  if (nodes_[id].type == archive::EntryType::kFolder) {
    return Refuse("the hard link '{}' is to the folder '{}'", Shown(entry.path),
                  Shown(entry.target));
  }
  if (nodes_[id].names >= kMaxNames)
    return Refuse("more than {} hard links to '{}'", kMaxNames, Shown(entry.target));
  ++nodes_[id].names;  // before Remove, which may take the other name away
  Children& children = *nodes_[place.folders.back()].children;
  if (const auto existing = children.find(place.name); existing != children.end())
    Remove(children, existing);
  if (nodes_[id].names < 1) return Refuse("the hard link '{}' is to itself", Shown(entry.path));
  children.insert_or_assign(place.name, Child{id, layer_});
  return {};
}

void Tree::Hide(Children& children, Children::iterator it) {
  if (it->second.layer != layer_) {
    Remove(children, it);
    return;
  }
  Node& node = nodes_[it->second.node];
  if (node.type != archive::EntryType::kFolder) return;
  for (auto inner = node.children->begin(); inner != node.children->end();)
    Hide(*node.children, inner++);
}

void Tree::Remove(Children& children, Children::iterator it) {
  const NodeId id = it->second.node;
  children.erase(it);
  Release(id);
}

void Tree::Release(NodeId id) {
  Node& node = nodes_[id];
  if (--node.names > 0) return;
  if (node.children != nullptr) {
    // At most max_depth deep, which Locate sees to.
    for (const auto& [name, child] : *node.children) Release(child.node);
  }
  released_.insert(released_.end(), node.extents.begin(), node.extents.end());
  node = Node();
  free_.push_back(id);
}

}  // namespace cleanroom::ext4
