#include "ext4/inode_numbers.h"

namespace cleanroom::ext4 {
namespace {

// Folder by folder, so that what lies together is read together. As deep as the tree, which has a
// limit.
void Number(const Tree& tree, Tree::NodeId id, uint32_t& next, std::vector<uint32_t>& out) {
  for (const auto& [name, child] : *tree.node(id).children) {
    if (out[child.node] == 0) out[child.node] = next++;
  }
  for (const auto& [name, child] : *tree.node(id).children) {
    if (tree.node(child.node).type == archive::EntryType::kFolder)
      Number(tree, child.node, next, out);
  }
}

}  // namespace

std::vector<uint32_t> InodeNumbers(const Tree& tree) {
  std::vector<uint32_t> out(tree.slots());
  out[Tree::kRoot] = kRootInode;
  uint32_t next = kFirstInode;
  Number(tree, Tree::kRoot, next, out);
  return out;
}

}  // namespace cleanroom::ext4
