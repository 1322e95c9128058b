#include "client/connect.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <utility>

#include "config/endpoint.h"
#include "http/byte_stream.h"
#include "http/tls/tls_stream.h"
#include "os/socket.h"

namespace cleanroom::client {
namespace {

using asio::ip::tcp;

// An answer may carry a DownloadSandboxFile; everything else is small.
constexpr size_t kMaxMessageBytes = 64U << 20;

Error NoDaemon(std::string_view url, std::string_view why) {
  return Error(ErrorCode::kUnavailable, fmt::format("no daemon answers at {} ({})", url, why))
      .About(SubjectKind::kDaemon, std::string(url));
}

Error NotTrusted(const ConnectOptions& options, const Error& error) {
  const std::string by =
      options.tls_ca.empty() ? "the system's authorities" : "the authorities in " + options.tls_ca;
  return Error(ErrorCode::kUnavailable,
               fmt::format("{}: the daemon's certificate is not trusted by {} ({})", options.url,
                           by, error.message()))
      .About(SubjectKind::kCertificate, options.url);
}

Result<os::UniqueFd> ConnectUnixSocket(const std::string& url, const std::string& path) {
  auto fd = os::ConnectUnix(path);
  if (fd) return fd;
  switch (fd.error().code()) {
    case ErrorCode::kNotFound:
      return Err(NoDaemon(url, "there is no such socket"));
    case ErrorCode::kUnavailable:
      return Err(NoDaemon(url, "nobody listens on the socket"));
    case ErrorCode::kDeadlineExceeded:
      return Err(NoDaemon(url, fd.error().message()));
    default:
      return Err(std::move(fd).error().About(SubjectKind::kDaemon, url));
  }
}

Awaitable<Result<os::UniqueFd>> ConnectTcp(std::string url, config::Endpoint endpoint) {
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

// A TLS connection with what it trusts, which must outlive it.
class OwningTlsStream : public http::ByteStream {
 public:
  OwningTlsStream(std::unique_ptr<http::TlsClient> trust, std::unique_ptr<http::ByteStream> stream)
      : trust_(std::move(trust)), stream_(std::move(stream)) {}
  Awaitable<Result<size_t>> Read(std::span<std::byte> buffer) override {
    return stream_->Read(buffer);
  }
  Awaitable<Result<void>> Write(std::span<const std::byte> data) override {
    return stream_->Write(data);
  }
  void Close() override { stream_->Close(); }
  asio::any_io_executor executor() override { return stream_->executor(); }

 private:
  std::unique_ptr<http::TlsClient> trust_;
  std::unique_ptr<http::ByteStream> stream_;
};

Awaitable<Result<std::unique_ptr<http::ByteStream>>> OpenStream(ConnectOptions options,
                                                                config::Endpoint endpoint) {
  const auto executor = co_await asio::this_coro::executor;
  std::unique_ptr<http::TlsClient> trust;
  if (endpoint.scheme == config::Endpoint::Scheme::kHttps) {
    CR_CO_TRY_ASSIGN(trust, http::TlsClient::Create(options.tls_ca));
  }
  auto fd = co_await ConnectTcp(options.url, endpoint);
  if (!fd) co_return Err(std::move(fd).error());
  if (trust == nullptr) co_return http::AdoptSocket(executor, fd->release());
  auto stream = co_await trust->Connect(executor, fd->release(), endpoint.host);
  if (!stream) {
    const Error& error = stream.error();
    if (error.subject().kind != SubjectKind::kCertificate)
      co_return Err(std::move(stream).error().Context(options.url));
    co_return Err(NotTrusted(options, error));
  }
  co_return std::make_unique<OwningTlsStream>(std::move(trust), std::move(*stream));
}

}  // namespace

Awaitable<Result<std::unique_ptr<rpc::Channel>>> Connect(ConnectOptions options) {
  CR_CO_TRY_ASSIGN(const config::Endpoint endpoint, config::Endpoint::Parse(options.url));
  rpc::ChannelOptions channel;
  channel.max_message_bytes = kMaxMessageBytes;
  channel.patience = options.patience;
  channel.advice = rpc::Advice::kTake;  // the daemon is the user's own
  if (!options.auth_token.empty())
    channel.headers.emplace_back("authorization", "Bearer " + options.auth_token);
  const auto executor = co_await asio::this_coro::executor;

  if (endpoint.scheme == config::Endpoint::Scheme::kUnix) {
    CR_CO_TRY_ASSIGN(os::UniqueFd fd, ConnectUnixSocket(options.url, endpoint.path));
    co_return rpc::Channel::Create(http::AdoptSocket(executor, fd.release()), std::move(channel));
  }
  channel.authority = fmt::format("{}:{}", endpoint.host, endpoint.port);
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  auto connecting =
      WithDeadline(OpenStream(options, endpoint), deadline, "connecting to " + options.url);
  auto stream = co_await std::move(connecting);
  if (!stream) {
    if (stream.error().code() == ErrorCode::kDeadlineExceeded)
      co_return Err(NoDaemon(options.url, "timed out"));
    co_return Err(std::move(stream).error());
  }
  co_return rpc::Channel::Create(std::move(*stream), std::move(channel));
}

}  // namespace cleanroom::client
