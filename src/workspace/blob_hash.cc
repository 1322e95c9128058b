// As in base/sha256: the provider that EVP looks for costs more than all the hashing.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "workspace/blob_hash.h"

#include <fmt/format.h>

#include <array>

namespace cleanroom::workspace {

BlobHash::BlobHash(std::string_view object_format, uint64_t size) {
  if (object_format == "sha256") {
    SHA256_Init(&context_.emplace<SHA256_CTX>());
  } else {
    SHA1_Init(&context_.emplace<SHA_CTX>());
  }
  Add(fmt::format("blob {}", size));
  Add(std::string_view("", 1));
}

void BlobHash::Add(std::string_view data) {
  if (auto* sha1 = std::get_if<SHA_CTX>(&context_)) {
    SHA1_Update(sha1, data.data(), data.size());
  } else {
    SHA256_Update(&std::get<SHA256_CTX>(context_), data.data(), data.size());
  }
}

std::string BlobHash::Finish() {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  size_t size = SHA256_DIGEST_LENGTH;
  if (auto* sha1 = std::get_if<SHA_CTX>(&context_)) {
    SHA1_Final(digest.data(), sha1);
    size = SHA_DIGEST_LENGTH;
  } else {
    SHA256_Final(digest.data(), &std::get<SHA256_CTX>(context_));
  }
  std::string out;
  for (size_t i = 0; i < size; ++i) fmt::format_to(std::back_inserter(out), "{:02x}", digest[i]);
  return out;
}

std::string BlobIdOf(std::string_view object_format, std::string_view contents) {
  BlobHash hash(object_format, contents.size());
  hash.Add(contents);
  return hash.Finish();
}

}  // namespace cleanroom::workspace
