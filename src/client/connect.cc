#include "client/connect.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <charconv>
#include <utility>

#include "http/byte_stream.h"
#include "os/socket.h"

namespace cleanroom::client {
namespace {

using asio::ip::tcp;

// An answer may carry a DownloadSandboxFile; everything else is small.
constexpr size_t kMaxMessageBytes = 64U << 20;

std::unexpected<Error> BadUrl(std::string_view url, std::string_view why) {
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("'{}' is no endpoint: {}; write unix:///PATH, http://HOST[:PORT] or https://HOST[:PORT]",
                         url.substr(0, 256), why));
}

Error NoDaemon(std::string_view url, std::string_view why) {
  return Error(ErrorCode::kUnavailable, fmt::format("no daemon answers at {} ({})", url, why));
}

Result<os::UniqueFd> ConnectUnixSocket(const std::string& url, const std::string& path) {
  auto fd = os::ConnectUnix(path);
  if (fd) return fd;
  switch (fd.error().code()) {
    case ErrorCode::kNotFound:
      return Err(NoDaemon(url, "there is no such socket"));
    case ErrorCode::kUnavailable:
      return Err(NoDaemon(url, "nobody listens on the socket"));
    default:
      return fd;
  }
}

Awaitable<Result<os::UniqueFd>> ConnectTcp(std::string url, Endpoint endpoint) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::resolver resolver(executor);
  auto [resolve_error, addresses] =
      co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port), kAwait);
  if (resolve_error) co_return Err(NoDaemon(url, resolve_error.message()));
  tcp::socket socket(executor);
  auto [connect_error, address] = co_await asio::async_connect(socket, addresses, kAwait);
  if (connect_error) co_return Err(NoDaemon(url, connect_error.message()));
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  co_return os::UniqueFd(socket.release());
}

}  // namespace

Result<Endpoint> ParseEndpoint(std::string_view url) {
  Endpoint endpoint;
  std::string_view rest = url;
  if (rest.starts_with("unix://")) {
    rest.remove_prefix(7);
    if (!rest.starts_with('/')) return BadUrl(url, "the socket's path must be absolute");
    endpoint.path = rest;
    return endpoint;
  }
  if (rest.starts_with("http://")) {
    endpoint.kind = Endpoint::Kind::kHttp;
    endpoint.port = 80;
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    endpoint.kind = Endpoint::Kind::kHttps;
    endpoint.port = 443;
    rest.remove_prefix(8);
  } else {
    return BadUrl(url, "its scheme is not known");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@ ") != std::string_view::npos) return BadUrl(url, "only a host and a port may follow");
  std::string_view port;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return BadUrl(url, "']' is missing");
    endpoint.host = rest.substr(1, close - 1);
    port = rest.substr(close + 1);
  } else {
    const size_t colon = rest.find(':');
    endpoint.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port = rest.substr(colon);
  }
  if (endpoint.host.empty()) return BadUrl(url, "the host is missing");
  if (!port.empty()) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), value);
    const bool whole = error == std::errc() && end == port.data() + port.size();
    if (port[0] != ':' || !whole || value == 0 || value > 65535) return BadUrl(url, "the port is no number from 1 to 65535");
    endpoint.port = static_cast<uint16_t>(value);
  }
  return endpoint;
}

Awaitable<Result<std::unique_ptr<rpc::Channel>>> Connect(ConnectOptions options) {
  CR_CO_TRY_ASSIGN(Endpoint endpoint, ParseEndpoint(options.url));
  rpc::ChannelOptions channel;
  channel.max_message_bytes = kMaxMessageBytes;
  if (!options.auth_token.empty()) channel.headers.emplace_back("authorization", "Bearer " + options.auth_token);
  const auto executor = co_await asio::this_coro::executor;

  if (endpoint.kind == Endpoint::Kind::kUnix) {
    CR_CO_TRY_ASSIGN(os::UniqueFd fd, ConnectUnixSocket(options.url, endpoint.path));
    co_return rpc::Channel::Create(http::AdoptSocket(executor, fd.release()), std::move(channel));
  }
  if (endpoint.kind == Endpoint::Kind::kHttps) {
    co_return Err(ErrorCode::kUnimplemented, "https endpoints are not supported by this build");
  }
  channel.authority = fmt::format("{}:{}", endpoint.host, endpoint.port);
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  auto connecting = WithDeadline(ConnectTcp(options.url, endpoint), deadline, "connecting to " + options.url);
  auto fd = co_await std::move(connecting);
  if (!fd) {
    if (fd.error().code() == ErrorCode::kDeadlineExceeded) co_return Err(NoDaemon(options.url, "timed out"));
    co_return Err(std::move(fd).error());
  }
  co_return rpc::Channel::Create(http::AdoptSocket(executor, fd->release()), std::move(channel));
}

}  // namespace cleanroom::client
