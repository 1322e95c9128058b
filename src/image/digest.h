// SHA-256 digests in the OCI spelling, "sha256:<64 lower-case hex>".
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace cleanroom::image {

// Incremental SHA-256. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::span<const uint8_t> data);
  // The digest of everything so far; the object is then used up.
  std::string Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string DigestOf(std::string_view data);

// Whether `text` is "sha256:" and 64 lower-case hex digits. Digests from outside pass this before
// they become part of a path or a URL.
bool IsDigest(std::string_view text);

}  // namespace cleanroom::image
