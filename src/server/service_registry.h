// ServiceRegistry: registers procedures with authentication before each, which takes nothing but
// the head of a request: of a stranger's body nothing is kept. Authenticator: bearer tokens.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/async.h"
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

class ServiceRegistry {
 public:
  // `authenticator` may be null: whoever reaches the socket may call. Both outlive the router's
  // use.
  ServiceRegistry(rpc::Router& router, const Authenticator* authenticator) : router_(router) {
    if (authenticator == nullptr) return;
    router.SetGuard(
        [authenticator](const rpc::CallContext& call) { return authenticator->Check(call); });
  }

  template <typename Req, typename Resp>
  void Unary(std::string path,
             std::function<Awaitable<Result<Resp>>(rpc::CallContext&, Req)> handler) {
    router_.Unary<Req, Resp>(std::move(path), std::move(handler));
  }
  template <typename Req, typename Resp>
  void ServerStream(
      std::string path,
      std::function<Awaitable<Result<void>>(rpc::CallContext&, Req, rpc::Writer<Resp>&)> handler) {
    router_.ServerStream<Req, Resp>(std::move(path), std::move(handler));
  }
  template <typename Req, typename Resp>
  void Bidi(std::string path,
            std::function<Awaitable<Result<void>>(rpc::CallContext&, rpc::Reader<Req>&,
                                                  rpc::Writer<Resp>&)>
                handler) {
    router_.Bidi<Req, Resp>(std::move(path), std::move(handler));
  }

 private:
  rpc::Router& router_;
};

}  // namespace cleanroom::server
