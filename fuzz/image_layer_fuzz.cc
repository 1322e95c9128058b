// A layer's bytes, from decompression to the finished file system. The first byte is how many bytes
// belong to the lower of two layers, in eighths.
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "image/layer.h"

namespace {

using namespace cleanroom::archive;
using namespace cleanroom::image;

class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  cleanroom::Result<size_t> Read(std::span<uint8_t> buffer) override {
    const size_t n = std::min(buffer.size(), bytes_.size());
    std::memcpy(buffer.data(), bytes_.data(), n);
    bytes_ = bytes_.subspan(n);
    return n;
  }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  const size_t lower = bytes.size() * (data[0] % 8) / 8;
  cleanroom::image::Limits limits;
  limits.max_unpacked_bytes = 4 << 20;
  limits.expansion_floor = 1 << 20;
  limits.max_entries = 10'000;
  const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                     ("cleanroom-layer-fuzz." + std::to_string(::getpid()));
  std::filesystem::remove(path);
  auto builder = RootfsBuilder::Create(path, limits);
  if (!builder) __builtin_trap();
  bool whole = true;
  for (const auto part : {bytes.first(lower), bytes.subspan(lower)}) {
    MemorySource source(part);
    whole = whole && builder->Apply(source, {.name = "fuzz", .diff_id = {}}, {});
  }
  if (whole) (void)builder->Finish("fuzz");
  std::filesystem::remove(path);
  return 0;
}
