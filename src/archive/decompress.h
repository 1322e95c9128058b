// Unpacks gzip and zstd streams, as one source over another. Which it is shows in the first bytes,
// not in the media type: registries hold layers whose type lies.
#pragma once

#include <memory>

#include "archive/byte_source.h"
#include "archive/limits.h"

namespace cleanroom::archive {

enum class Compression { kNone, kGzip, kZstd };

// By magic number; at least the first 4 bytes should be given.
Compression DetectCompression(std::span<const uint8_t> head);

// The unpacked form of `input`, which outlives it. Reading fails with data_corrupt when the stream
// is damaged or ends too early, and with resource_exhausted when it expands beyond
// Limits::max_expansion or max_unpacked_bytes.
Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& input, const Limits& limits);

}  // namespace cleanroom::archive
