// Authenticator: bearer tokens. Asked by a router (rpc::Router::SetGuard) before each procedure,
// when nothing but the head of a request has been read: of a stranger's body nothing is kept.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "rpc/service.h"

namespace cleanroom::server {

class Authenticator {
 public:
  // `tokens` are not empty, and neither is any of them.
  explicit Authenticator(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {}
  // unauthenticated unless the call carries "authorization: Bearer TOKEN" with one of the tokens.
  // Takes the same time whatever of a token is right.
  Result<void> Check(const rpc::CallContext& call) const;

 private:
  std::vector<std::string> tokens_;
};

}  // namespace cleanroom::server
