#include "server/authenticator.h"

#include <openssl/crypto.h>

#include <string_view>

namespace cleanroom::server {
namespace {

constexpr std::string_view kScheme = "Bearer ";

bool SameBytes(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

Result<void> Authenticator::Check(const rpc::CallContext& call) const {
  for (const auto& [name, value] : call.headers) {
    if (name != "authorization" || !value.starts_with(kScheme)) continue;
    bool right = false;
    for (const std::string& token : tokens_) {
      right = SameBytes(std::string_view(value).substr(kScheme.size()), token) || right;
    }
    if (right) return {};
    return Err(ErrorCode::kUnauthenticated,
               "the token is not one of this daemon's (config auth.tokens)");
  }
  return Err(ErrorCode::kUnauthenticated,
             "this listener wants a token: pass --auth-token or set CLEANROOM_AUTH_TOKEN");
}

}  // namespace cleanroom::server
