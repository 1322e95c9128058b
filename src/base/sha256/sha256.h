// SHA-256 in hexadecimal, for hashes of policies and keys of caches and manifests.
//
// It uses OpenSSL's SHA256_Update and not EVP: finding a provider for the first EVP digest of a
// process takes longer than all the hashing of a warden's life, and has the whole of libcrypto
// linked where it is linked statically.
#pragma once

#include <openssl/sha.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cleanroom {

class Sha256 {
 public:
  Sha256();
  void Add(std::string_view data);
  void Add(std::span<const uint8_t> data) {
    Add({reinterpret_cast<const char*>(data.data()), data.size()});
  }
  // 64 lower-case digits. Once.
  std::string Finish();

 private:
  SHA256_CTX context_;
};

std::string Sha256Hex(std::string_view data);

// The digest of the parts' lengths and contents: no two lists of parts share it.
std::string Sha256OfParts(const std::vector<std::string_view>& parts);

}  // namespace cleanroom
