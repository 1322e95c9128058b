// Turns layers into one ext4 file: each is read once, from compressed bytes to blocks, with nothing
// in between on the host's file system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "archive/byte_source.h"
#include "base/result.h"
#include "ext4/tree.h"
#include "ext4/writer.h"
#include "image/control.h"

namespace cleanroom::image {

class RootfsBuilder {
 public:
  // Makes the file `path`; whoever calls removes it when anything fails.
  static Result<RootfsBuilder> Create(const std::filesystem::path& path, const Limits& limits);

  struct Layer {
    std::string name;     // its digest, for messages and progress
    std::string diff_id;  // what the uncompressed bytes must hash to; empty: anything
    uint64_t bytes = 0;   // compressed size, for progress; 0 when not known
    // The tar must have its end mark: there is no digest to tell that it is whole.
    bool need_end = false;
  };
  struct Applied {
    std::string diff_id;
    uint64_t unpacked_bytes = 0;  // of the uncompressed tar
  };
  // Applies the next layer. Errors name it; data_corrupt covers damage, hostile paths and a wrong
  // diff id.
  Result<Applied> Apply(archive::ByteSource& blob, const Layer& layer, const Control& control);

  // Completes the file; answers its apparent size. `identity` seeds the file system's UUID.
  Result<uint64_t> Finish(std::string_view identity) { return writer_.Finish(tree_, identity); }

 private:
  RootfsBuilder(ext4::Writer writer, const Limits& limits)
      : limits_(limits), tree_(limits), writer_(std::move(writer)) {}
  Result<Applied> ApplyUnnamed(archive::ByteSource& blob, const Layer& layer,
                               const Control& control);

  Result<void> CheckBlocks(uint64_t unpacked) const;

  Limits limits_;
  ext4::Tree tree_;
  ext4::Writer writer_;
  uint64_t entries_ = 0;
  uint64_t unpacked_bytes_ = 0;
};

}  // namespace cleanroom::image
