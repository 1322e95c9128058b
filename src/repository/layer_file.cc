#include "repository/layer_file.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "archive/tar_reader.h"
#include "ext4/inode_numbers.h"
#include "os/scratch.h"

namespace cleanroom::repository {
namespace {

constexpr size_t kHeadBytes = 1024;

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Result<LayerFile> LayerFile::Create(const std::filesystem::path& path, const LayerLimits& limits) {
  CR_TRY_ASSIGN(ext4::Writer writer, ext4::Writer::Create(path));
  archive::Limits tree;
  // Folders count as well, and what we put in ourselves.
  tree.max_entries = 2 * limits.max_files + 1000;
  tree.max_unpacked_bytes = limits.max_bytes;
  return LayerFile(std::move(writer), limits, tree);
}

Result<void> LayerFile::CountBytes(uint64_t bytes) {
  bytes_ += bytes;
  // Of blocks too: a file of one byte takes one of 4 KiB.
  if (bytes_ <= limits_.max_bytes && writer_.allocated_bytes() <= 2 * limits_.max_bytes) return {};
  return Err(ErrorCode::kResourceExhausted,
             fmt::format("the files have more than {} bytes", limits_.max_bytes));
}

Result<void> LayerFile::AddFolder(const std::string& path) {
  archive::TarEntry entry;
  entry.type = archive::EntryType::kFolder;
  entry.path = path;
  entry.permissions = 0755;
  CR_TRY(tree_.Add(entry));
  return {};
}

Result<LayerFile::NodeId> LayerFile::AddEmpty(const std::string& path, uint16_t mode) {
  archive::TarEntry entry;
  entry.path = path;
  entry.permissions = mode;
  return tree_.Add(entry);
}

Result<void> LayerFile::AddWhiteout(const std::string& path) {
  archive::TarEntry entry;
  entry.type = archive::EntryType::kCharDevice;
  entry.path = path;
  CR_TRY(tree_.Add(entry));
  return {};
}

Result<LayerFile::NodeId> LayerFile::AddFile(const std::string& path, std::string_view content,
                                             uint16_t mode) {
  CR_TRY_ASSIGN(const NodeId node, AddEmpty(path, mode));
  CR_TRY(Fill(node, content));
  return node;
}

Result<LayerFile::NodeId> LayerFile::Reserve(const std::string& path) {
  return AddEmpty(path, 0644);
}

Result<void> LayerFile::Fill(NodeId node, std::string_view content) {
  CR_TRY(CountBytes(content.size()));
  CR_TRY(writer_.Write(0, Bytes(content)));
  CR_TRY_ASSIGN(tree_.node(node).extents, writer_.EndFile());
  tree_.node(node).size = content.size();
  return {};
}

Result<void> LayerFile::CopyFile(const std::string& path, const std::filesystem::path& from,
                                 uint16_t mode) {
  CR_TRY_ASSIGN(const os::UniqueFd fd, os::Open(from, O_RDONLY | O_NOFOLLOW));
  CR_TRY_ASSIGN(const NodeId node, AddEmpty(path, mode));
  std::vector<uint8_t> buffer(256 << 10);
  uint64_t offset = 0;
  while (true) {
    CR_TRY_ASSIGN(const size_t n, os::PreadSome(fd.get(), buffer, offset));
    if (n == 0) break;
    CR_TRY(CountBytes(n));
    CR_TRY(writer_.Write(offset, std::span(buffer).first(n)));
    offset += n;
  }
  CR_TRY_ASSIGN(tree_.node(node).extents, writer_.EndFile());
  tree_.node(node).size = offset;
  return {};
}

Result<void> LayerFile::AddTar(archive::ByteSource& tar, const OnEntry& on_file,
                               const std::stop_token& stop) {
  CR_TRY_ASSIGN(archive::TarReader reader, archive::TarReader::Open(tar, tree_limits_));
  archive::TarEntry entry;
  std::string head;
  while (true) {
    if (stop.stop_requested()) return Err(ErrorCode::kCanceled, "the operation was cancelled");
    CR_TRY_ASSIGN(const bool more, reader.Next(entry));
    if (!more) break;
    if (entry.type != archive::EntryType::kFile && entry.type != archive::EntryType::kFolder &&
        entry.type != archive::EntryType::kSymlink)
      return Err(ErrorCode::kDataCorrupt, "git's archive has an entry of a strange type");
    entry.xattrs.clear();
    CR_TRY_ASSIGN(const NodeId node, tree_.Add(entry));
    if (entry.type == archive::EntryType::kFolder) continue;
    head.clear();
    if (entry.type == archive::EntryType::kFile) {
      CR_TRY(reader.ReadData([&](uint64_t offset, std::span<const uint8_t> data) -> Result<void> {
        if (offset > entry.size || data.size() > entry.size - offset)
          return Err(ErrorCode::kDataCorrupt, "git's archive has more data than its header says");
        if (head.size() < kHeadBytes)
          head.append(reinterpret_cast<const char*>(data.data()),
                      std::min(data.size(), kHeadBytes - head.size()));
        CR_TRY(CountBytes(data.size()));
        return writer_.Write(offset, data);
      }));
      CR_TRY_ASSIGN(tree_.node(node).extents, writer_.EndFile());
    }
    on_file(entry, node, head);
  }
  // What is behind the end mark, and how git ended.
  std::vector<uint8_t> rest(16 << 10);
  while (true) {
    CR_TRY_ASSIGN(const size_t n, tar.Read(rest));
    if (n == 0) return {};
  }
}

std::vector<uint32_t> LayerFile::Numbers() const { return ext4::InodeNumbers(tree_); }

Result<void> LayerFile::Finish(const Stamp& stamp, std::string_view identity) {
  for (NodeId id = 0; id < tree_.slots(); ++id) {
    ext4::Tree::Node& node = tree_.node(id);
    node.uid = stamp.owner.uid;
    node.gid = stamp.owner.gid;
    node.mtime = stamp.mtime;
    node.mtime_nsec = 0;
  }
  for (const NodeId id : stamp.later) tree_.node(id).mtime = stamp.later_mtime;
  const Result<uint64_t> size = writer_.Finish(tree_, identity);
  if (!size) return Err(size.error());
  return {};
}

}  // namespace cleanroom::repository
