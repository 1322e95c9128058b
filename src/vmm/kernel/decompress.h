// Unpacking what distributions compress: the kernel inside a bzImage, and modules. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::vmm {

// Uncompressed images are at most this large; more is refused.
inline constexpr size_t kMaxKernelBytes = size_t{256} << 20;
inline constexpr size_t kMaxModuleBytes = size_t{64} << 20;

// Unpacks one stream of gzip, xz, lzma, bzip2, zstd or LZ4 (frame or legacy, as kernels use it);
// bytes that follow the stream are ignored. data_corrupt when it is none of these.
Result<std::string> Decompress(std::string_view data, size_t max_bytes);

// The ELF vmlinux in `image`: an ELF as it is, a bzImage unpacked by its own header (boot
// protocol 2.08).
Result<std::string> ExtractVmlinux(std::string image);

}  // namespace cleanroom::vmm
