#include "vmm/kernel/decompress.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

namespace cleanroom::vmm {
namespace {

// Fields of the setup header (Linux, Documentation/arch/x86/boot.rst).
constexpr size_t kSetupSects = 0x1f1;
constexpr size_t kHeaderMagic = 0x202;
constexpr size_t kProtocolVersion = 0x206;
constexpr size_t kPayloadOffset = 0x248;
constexpr size_t kPayloadLength = 0x24c;

struct FreeArchive {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

uint32_t Little32(std::string_view data, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, data.data() + at, sizeof value);
  return value;
}

bool IsElf(std::string_view image) { return image.starts_with("\177ELF"); }

}  // namespace

Result<std::string> Decompress(std::string_view data, size_t max_bytes) {
  const std::unique_ptr<archive, FreeArchive> reader(archive_read_new());
  archive_read_support_filter_all(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(reader.get(), data.data(), data.size()) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) {
    return Err(ErrorCode::kDataCorrupt, "compressed data of no known form");
  }
  if (archive_filter_count(reader.get()) < 2) {
    return Err(ErrorCode::kDataCorrupt, "the data is not compressed in a known form");
  }
  std::string out;
  for (;;) {
    constexpr size_t kStep = 1 << 20;
    const size_t used = out.size();
    out.resize(used + kStep);
    const la_ssize_t n = archive_read_data(reader.get(), out.data() + used, kStep);
    out.resize(used + static_cast<size_t>(std::max<la_ssize_t>(n, 0)));
    if (out.size() > max_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the data unpacks to more than {} bytes", max_bytes));
    }
    if (n < 0) return Err(ErrorCode::kDataCorrupt, "the compressed data is damaged");
    if (n == 0) break;
  }
  return out;
}

Result<std::string> ExtractVmlinux(std::string image) {
  if (IsElf(image)) return image;
  if (image.size() < kPayloadLength + 4 || image.compare(kHeaderMagic, 4, "HdrS") != 0) {
    return Err(ErrorCode::kInvalidArgument,
               "neither an ELF kernel (vmlinux) nor a bzImage (vmlinuz)");
  }
  const auto version = static_cast<uint16_t>(Little32(image, kProtocolVersion) & 0xffff);
  if (version < 0x208) {
    return Err(ErrorCode::kInvalidArgument,
               "the kernel image is of a form from before Linux 2.6.26");
  }
  size_t setup_sectors = static_cast<unsigned char>(image[kSetupSects]);
  if (setup_sectors == 0) setup_sectors = 4;
  const size_t begin = (setup_sectors + 1) * 512 + Little32(image, kPayloadOffset);
  const size_t length = Little32(image, kPayloadLength);
  if (begin > image.size() || length > image.size() - begin || length < 4) {
    return Err(ErrorCode::kDataCorrupt, "the kernel image is cut short");
  }
  // The payload ends with the size of what it unpacks to: appended to the stream, except for gzip,
  // whose own last field it is.
  std::string_view payload = std::string_view(image).substr(begin, length);
  const size_t unpacked_size = Little32(payload, length - 4);
  if (!payload.starts_with("\x1f\x8b")) payload.remove_suffix(4);
  CR_TRY_ASSIGN(std::string vmlinux, Decompress(payload, kMaxKernelBytes));
  if (!IsElf(vmlinux) || vmlinux.size() != unpacked_size) {
    return Err(ErrorCode::kDataCorrupt, "the kernel in the image is damaged");
  }
  return vmlinux;
}

}  // namespace cleanroom::vmm
