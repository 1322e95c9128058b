#include "vmm/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <memory>

namespace cleanroom::vmm {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

class Hasher {
 public:
  Hasher() : context_(EVP_MD_CTX_new()) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void Add(std::string_view data) { EVP_DigestUpdate(context_.get(), data.data(), data.size()); }
  std::string Finish() {
    std::array<unsigned char, 32> digest{};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    return fmt::format("{:02x}", fmt::join(digest, ""));
  }

 private:
  std::unique_ptr<EVP_MD_CTX, FreeContext> context_;
};

}  // namespace

std::string Sha256(std::string_view data) {
  Hasher hasher;
  hasher.Add(data);
  return hasher.Finish();
}

std::string Sha256(const std::vector<std::string_view>& parts) {
  Hasher hasher;
  for (const std::string_view part : parts) {
    hasher.Add(fmt::format("{};", part.size()));
    hasher.Add(part);
  }
  return hasher.Finish();
}

}  // namespace cleanroom::vmm
