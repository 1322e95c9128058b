#include "server/api/authenticator.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <string_view>

#include "server/api/listeners.h"

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

Result<void> CheckLocalHost(const rpc::CallContext& call) {
  std::string_view host = call.host;
  if (host.empty()) return {};  // HTTP/2, which no browser speaks without TLS
  if (host.starts_with('[')) {
    host = host.substr(1, std::min(host.find(']'), host.size()) - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  if (IsLoopback(std::string(host))) return {};
  return Err(ErrorCode::kPermissionDenied,
             "this listener asks nobody who they are, so it answers to localhost and the addresses "
             "of the loopback alone; the request names another host (Host)");
}

}  // namespace cleanroom::server
