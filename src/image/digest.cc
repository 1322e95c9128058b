#include "image/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace cleanroom::image {

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  // Fails only without memory or with a libcrypto that lacks SHA-256: neither can be gone on from.
  if (impl_->context == nullptr || EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr) != 1)
    std::abort();
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::span<const uint8_t> data) {
  if (EVP_DigestUpdate(impl_->context, data.data(), data.size()) != 1) std::abort();
}

std::string Sha256::Finish() {
  std::array<uint8_t, EVP_MAX_MD_SIZE> bytes;
  unsigned size = 0;
  if (EVP_DigestFinal_ex(impl_->context, bytes.data(), &size) != 1) std::abort();
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    out += kHex[bytes[i] >> 4];
    out += kHex[bytes[i] & 15];
  }
  return out;
}

std::string DigestOf(std::string_view data) {
  Sha256 hash;
  hash.Update({reinterpret_cast<const uint8_t*>(data.data()), data.size()});
  return hash.Finish();
}

bool IsDigest(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (text.size() != kPrefix.size() + 64 || !text.starts_with(kPrefix)) return false;
  return std::ranges::all_of(text.substr(kPrefix.size()), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

}  // namespace cleanroom::image
