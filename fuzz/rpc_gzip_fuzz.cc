// A packed message, as a hostile client sends it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rpc/gzip/gzip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kLimit = 64 << 10;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto out = cleanroom::rpc::Gzip().Unpack(input, kLimit);
  if (out && out->size() > kLimit) std::abort();
  // Whatever is packed comes back.
  const auto back = cleanroom::rpc::Gzip().Unpack(cleanroom::rpc::Gzip().Pack(input), size);
  if (!back || *back != input) std::abort();
  return 0;
}
