// BlobHash: the id that git gives a file's contents. Contents that pass the filters of a repository
// are hashed by git itself.
#pragma once

#include <openssl/sha.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace cleanroom::workspace {

class BlobHash {
 public:
  // `object_format`: "sha1" or "sha256". `size`: of all that will be added.
  BlobHash(std::string_view object_format, uint64_t size);
  void Add(std::string_view data);
  // In lower-case hexadecimal digits. Once.
  std::string Finish();

 private:
  std::variant<SHA_CTX, SHA256_CTX> context_;
};

std::string BlobIdOf(std::string_view object_format, std::string_view contents);

}  // namespace cleanroom::workspace
