// Who may call a network listener: who has a bearer token or, where there are none, a program of
// this host. Asked by a router (rpc::Router::SetGuard) before each procedure, when nothing but the
// head of a request has been read: of a stranger's body nothing is kept.
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

// permission_denied when the request's Host is a name other than localhost, or an address that is
// not of the loopback. A listener without tokens is on the loopback alone, but a browser's page can
// have its own name lead there (DNS rebinding); its requests then carry that name.
Result<void> CheckLocalHost(const rpc::CallContext& call);

}  // namespace cleanroom::server
