// The head of a git bundle: what is taken has ids of its own format, and its pack behind a blank line.
#include <string_view>

#include "repository/bundle_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::repository;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto header = ParseBundleHeader(bytes);
  if (!header) return 0;
  const size_t digits = header->object_format == "sha256" ? 64 : 40;
  if (header->tip.size() != digits) __builtin_trap();
  for (const auto& id : header->prerequisites) {
    if (id.size() != digits) __builtin_trap();
  }
  if (header->pack > size || !bytes.substr(0, header->pack).ends_with("\n\n")) __builtin_trap();
  return 0;
}
