// Connecting to a daemon: a URL becomes a channel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/async.h"
#include "client/connect_options.h"
#include "rpc/client.h"

namespace cleanroom::client {

// A URL taken apart.
struct Endpoint {
  enum class Kind { kUnix, kHttp, kHttps };
  Kind kind = Kind::kUnix;
  std::string path;  // of a unix socket, absolute
  std::string host;  // without the brackets of an IPv6 literal
  uint16_t port = 0;
};

// unix:///PATH, http://HOST[:PORT] or https://HOST[:PORT] (ports 80 and 443 when left out); invalid_argument,
// with the accepted forms, for anything else.
Result<Endpoint> ParseEndpoint(std::string_view url);

// unavailable, naming the URL, when nothing answers there. The channel must be closed before it is destroyed.
Awaitable<Result<std::unique_ptr<rpc::Channel>>> Connect(ConnectOptions options);

}  // namespace cleanroom::client
