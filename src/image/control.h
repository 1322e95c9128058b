// What every long operation of this module takes: where to tell progress, and how to be stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::image {

enum class Phase { kResolve, kDownload, kUnpack, kFinish };
std::string_view ToString(Phase phase);

struct Progress {
  Phase phase = Phase::kResolve;
  std::string layer_digest;  // empty when the step is about the whole image
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;  // 0 when not known
};

// Called from the operation's threads, one call at a time; it must be quick and must not call back.
using ProgressFn = std::function<void(const Progress&)>;

struct Control {
  ProgressFn progress;  // may be empty
  std::stop_token
      stop;  // when it is requested, the operation ends soon with kCanceled and leaves nothing

  void Tell(const Progress& value) const {
    if (progress) progress(value);
  }
  Result<void> Check() const {
    if (stop.stop_requested())
      return Err(ErrorCode::kCanceled, "the image operation was cancelled");
    return {};
  }
};

// Limits on what an image may ask of this machine. The defaults are far above real images.
struct Limits {
  uint64_t max_layers = 128;
  uint64_t max_manifest_bytes = 4u << 20;     // manifest, index, config and token documents
  uint64_t max_entries = 2'000'000;           // tar entries over all layers
  uint64_t max_blob_bytes = 64ull << 30;      // one compressed layer
  uint64_t max_unpacked_bytes = 64ull << 30;  // file content and tar framing over all layers
  uint64_t max_expansion = 300;  // unpacked : compressed, once more than expansion_floor came out
  uint64_t expansion_floor = 256ull << 20;
  // Blocks : unpacked, likewise. A block of 4 KiB for each file of one byte makes 4; only sparse
  // files made of crumbs reach more.
  uint64_t max_block_expansion = 8;
  // What is kept in memory of all entries, beside 400 bytes each: names, link targets, extended
  // attributes.
  uint64_t max_metadata_bytes = 512ull << 20;
  // Between two entries of a tar: its header, long names, pax records, the map of a sparse file.
  uint64_t max_header_bytes = 8ull << 20;
  uint64_t max_path_bytes = 4096;   // one path in a tar
  uint64_t max_depth = 512;         // components of one path
  uint64_t max_xattr_bytes = 3072;  // names and values of one file: they must fit one ext4 block
};

}  // namespace cleanroom::image
