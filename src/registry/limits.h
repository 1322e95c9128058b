// Limits on what a registry may answer. The defaults are far above real images.
#pragma once

#include <cstdint>

namespace cleanroom::registry {

struct Limits {
  uint64_t max_layers = 128;
  uint64_t max_manifest_bytes = 4u << 20;  // manifest, index, config and token documents
  uint64_t max_blob_bytes = 64ull << 30;   // one compressed layer
};

}  // namespace cleanroom::registry
