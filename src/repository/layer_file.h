// One layer while it is made: a tree in memory and an ext4 file that takes content as it comes. All
// that is in it has one owner and one time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "archive/byte_source.h"
#include "base/result.h"
#include "ext4/tree.h"
#include "ext4/writer.h"

namespace cleanroom::repository {

struct Owner {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct LayerLimits {
  uint64_t max_files = 1'000'000;
  uint64_t max_bytes = 32ull << 30;
};

class LayerFile {
 public:
  using NodeId = ext4::Tree::NodeId;

  // The file must not exist.
  static Result<LayerFile> Create(const std::filesystem::path& path, const LayerLimits& limits);

  Result<void> AddFolder(const std::string& path);
  Result<NodeId> AddFile(const std::string& path, std::string_view content, uint16_t mode = 0644);
  // The content of a regular file of the host's.
  Result<void> CopyFile(const std::string& path, const std::filesystem::path& from, uint16_t mode);
  // What hides a name of the layers below (overlayfs: a character device 0:0).
  Result<void> AddWhiteout(const std::string& path);

  // All entries of a tar. `on_file` gets each that is not a folder, with the beginning of its content
  // (up to 1 KiB).
  using OnEntry =
      std::function<void(const archive::TarEntry& entry, NodeId node, std::string_view head)>;
  Result<void> AddTar(archive::ByteSource& tar, const OnEntry& on_file,
                      const std::stop_token& stop);

  // A file whose content is written later: the names must all be there before Numbers, and the
  // content before Finish.
  Result<NodeId> Reserve(const std::string& path);
  std::vector<uint32_t> Numbers() const;
  Result<void> Fill(NodeId node, std::string_view content);

  struct Stamp {
    Owner owner;
    int64_t mtime = 0;
    std::vector<NodeId> later{};  // these have the time later_mtime
    int64_t later_mtime = 0;
  };
  // Completes the file. `identity` seeds its UUID.
  Result<void> Finish(const Stamp& stamp, std::string_view identity);

 private:
  LayerFile(ext4::Writer writer, const LayerLimits& limits, const archive::Limits& tree)
      : limits_(limits), tree_limits_(tree), tree_(tree), writer_(std::move(writer)) {}
  Result<NodeId> AddEmpty(const std::string& path, uint16_t mode);
  Result<void> CountBytes(uint64_t bytes);

  LayerLimits limits_;
  archive::Limits tree_limits_;
  ext4::Tree tree_;
  ext4::Writer writer_;
  uint64_t bytes_ = 0;
};

}  // namespace cleanroom::repository
