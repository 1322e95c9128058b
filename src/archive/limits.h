// Limits on what an archive may ask of this machine. The defaults are far above real images.
#pragma once

#include <cstdint>

namespace cleanroom::archive {

struct Limits {
  uint64_t max_entries = 2'000'000;           // tar entries over all layers
  uint64_t max_unpacked_bytes = 64ull << 30;  // file content and tar framing over all layers
  uint64_t max_expansion = 300;  // unpacked : compressed, once more than expansion_floor came out
  uint64_t expansion_floor = 256ull << 20;
  // What is kept in memory of all entries, beside 400 bytes each: names, link targets, extended
  // attributes.
  uint64_t max_metadata_bytes = 512ull << 20;
  // Between two entries of a tar: its header, long names, pax records, the map of a sparse file.
  uint64_t max_header_bytes = 8ull << 20;
  uint64_t max_path_bytes = 4096;   // one path in a tar
  uint64_t max_depth = 512;         // components of one path
  uint64_t max_xattr_bytes = 3072;  // names and values of one file: they must fit one ext4 block
};

}  // namespace cleanroom::archive
