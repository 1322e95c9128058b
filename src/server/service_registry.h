// ServiceRegistry: registers procedures with authentication before each. Authenticator: bearer
// tokens.
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
  ServiceRegistry(rpc::Router& router, const Authenticator* authenticator)
      : router_(router), authenticator_(authenticator) {}

  template <typename Req, typename Resp>
  void Unary(std::string path,
             std::function<Awaitable<Result<Resp>>(rpc::CallContext&, Req)> handler) {
    router_.Unary<Req, Resp>(std::move(path),
                             [authenticator = authenticator_, handler = std::move(handler)](
                                 rpc::CallContext& call, Req request) {
                               auto allowed = Allowed(authenticator, call);
                               if (!allowed) return Refuse<Resp>(std::move(allowed).error());
                               return handler(call, std::move(request));
                             });
  }
  template <typename Req, typename Resp>
  void ServerStream(
      std::string path,
      std::function<Awaitable<Result<void>>(rpc::CallContext&, Req, rpc::Writer<Resp>&)> handler) {
    router_.ServerStream<Req, Resp>(
        std::move(path), [authenticator = authenticator_, handler = std::move(handler)](
                             rpc::CallContext& call, Req request, rpc::Writer<Resp>& out) {
          auto allowed = Allowed(authenticator, call);
          if (!allowed) return Refuse<void>(std::move(allowed).error());
          return handler(call, std::move(request), out);
        });
  }
  template <typename Req, typename Resp>
  void Bidi(std::string path,
            std::function<Awaitable<Result<void>>(rpc::CallContext&, rpc::Reader<Req>&,
                                                  rpc::Writer<Resp>&)>
                handler) {
    router_.Bidi<Req, Resp>(
        std::move(path), [authenticator = authenticator_, handler = std::move(handler)](
                             rpc::CallContext& call, rpc::Reader<Req>& in, rpc::Writer<Resp>& out) {
          auto allowed = Allowed(authenticator, call);
          if (!allowed) return Refuse<void>(std::move(allowed).error());
          return handler(call, in, out);
        });
  }

 private:
  static Result<void> Allowed(const Authenticator* authenticator, const rpc::CallContext& call) {
    return authenticator == nullptr ? Result<void>() : authenticator->Check(call);
  }
  template <typename T>
  static Awaitable<Result<T>> Refuse(Error error) {
    co_return Err(std::move(error));
  }

  rpc::Router& router_;
  const Authenticator* authenticator_;
};

}  // namespace cleanroom::server
