#include "base/sha256/sha256.h"

#include <fmt/format.h>

#include <array>

namespace cleanroom {

Sha256::Sha256() { SHA256_Init(&context_); }

void Sha256::Add(std::string_view data) { SHA256_Update(&context_, data.data(), data.size()); }

std::string Sha256::Finish() {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256_Final(digest.data(), &context_);
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

std::string Sha256Hex(std::string_view data) {
  Sha256 hash;
  hash.Add(data);
  return hash.Finish();
}

std::string Sha256OfParts(const std::vector<std::string_view>& parts) {
  Sha256 hash;
  for (const std::string_view part : parts) {
    hash.Add(fmt::format("{};", part.size()));
    hash.Add(part);
  }
  return hash.Finish();
}

}  // namespace cleanroom
