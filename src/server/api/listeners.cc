#include "server/api/listeners.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstring>
#include <filesystem>
#include <utility>

#include "os/file.h"
#include "os/socket.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using config::Endpoint;

constexpr int kBacklog = 128;
constexpr std::chrono::seconds kHandshakeLimit{10};
// After an error of accept that is not the connection's (no descriptors left, say), and when there
// are too many.
constexpr std::chrono::milliseconds kAcceptPause{50};
// A client whose machine has gone ends with its connection after about two minutes, also in the
// middle of a stream (tcp(7)).
constexpr int kAliveIdle = 60, kAliveInterval = 15, kAliveProbes = 4;

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

Result<Address> ToAddress(const std::string& host, uint16_t port) {
  Address address;
  const std::string literal = host == "localhost" ? "127.0.0.1" : host;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, literal.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
  } else if (inet_pton(AF_INET6, literal.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(sockaddr_in6);
  } else {
    return Err(
        ErrorCode::kInvalidArgument,
        fmt::format("cannot listen on '{}': the host must be an IP address or localhost", host));
  }
  return address;
}

Result<os::UniqueFd> ListenTcp(const std::string& host, uint16_t* port) {
  CR_TRY_ASSIGN(Address address, ToAddress(host, *port));
  os::UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrErrno(ErrorCode::kInternal, "cannot make a socket");
  const int one = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  auto* generic = reinterpret_cast<sockaddr*>(&address.storage);
  if (bind(fd.get(), generic, address.length) != 0 || listen(fd.get(), kBacklog) != 0) {
    const auto code =
        errno == EADDRINUSE ? ErrorCode::kAlreadyExists : ErrorCode::kPermissionDenied;
    return ErrErrno(code, fmt::format("cannot listen on {} port {}", host, *port));
  }
  socklen_t length = sizeof address.storage;
  if (getsockname(fd.get(), generic, &length) != 0)
    return ErrErrno(ErrorCode::kInternal, "getsockname");
  *port = ntohs(address.storage.ss_family == AF_INET
                    ? reinterpret_cast<sockaddr_in*>(generic)->sin_port
                    : reinterpret_cast<sockaddr_in6*>(generic)->sin6_port);
  return fd;
}

}  // namespace

bool IsLoopback(const std::string& host) {
  auto address = ToAddress(host, 0);
  if (!address) return false;
  if (address->storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address->storage);
    return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address->storage);
  return std::memcmp(&v6->sin6_addr, &in6addr_loopback, sizeof in6addr_loopback) == 0;
}

Result<ListenSocket> ListenSocket::Open(const Endpoint& endpoint) {
  Endpoint actual = endpoint;
  if (endpoint.scheme == Endpoint::Scheme::kUnix) {
    CR_TRY(os::MakeDirs(std::filesystem::path(endpoint.path).parent_path().string()));
    auto fd = os::ListenUnix(endpoint.path);
    if (!fd && fd.error().code() == ErrorCode::kAlreadyExists) {
      return Err(ErrorCode::kAlreadyExists,
                 fmt::format("another daemon answers on {}: stop it, or choose another --listen",
                             endpoint.path));
    }
    if (!fd) return Err(std::move(fd).error());
    const int flags = fcntl(fd->get(), F_GETFL);
    if (flags < 0 || fcntl(fd->get(), F_SETFL, flags | O_NONBLOCK) != 0)
      return ErrErrno(ErrorCode::kInternal, "fcntl");
    return ListenSocket(std::move(*fd), std::move(actual));
  }
  CR_TRY_ASSIGN(auto fd, ListenTcp(endpoint.host, &actual.port));
  return ListenSocket(std::move(fd), std::move(actual));
}

ListenSocket::~ListenSocket() {
  if (!fd_ || endpoint_.scheme != Endpoint::Scheme::kUnix) return;
  std::error_code ignored;
  std::filesystem::remove(endpoint_.path, ignored);
}

Acceptor::Acceptor(asio::any_io_executor executor, ListenSocket socket, const rpc::Server& server,
                   Handshake handshake, size_t max_connections)
    : executor_(executor),
      socket_(std::move(socket)),
      server_(server),
      handshake_(std::move(handshake)),
      max_connections_(max_connections),
      connections_(executor) {}

Awaitable<void> Acceptor::Run() {
  asio::posix::stream_descriptor ready(executor_, fcntl(socket_.fd(), F_DUPFD_CLOEXEC, 0));
  bool full = false;
  for (;;) {
    // A cancellation aborts what is pending, not what begins after it.
    const bool cancelled = co_await Cancelled();
    if (cancelled) break;
    auto [error] = co_await ready.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) break;
    if (connections_.size() >= max_connections_) {
      if (!std::exchange(full, true)) {
        Log(LogLevel::kWarn, "new connections wait: there are as many as may be",
            Field("listener", socket_.endpoint().ToString()),
            Field("connections", max_connections_));
      }
      auto slept = co_await SleepFor(kAcceptPause);
      if (!slept) break;
      continue;
    }
    full = false;
    const int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      connections_.Spawn(Serve(fd));
      continue;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) continue;
    Log(LogLevel::kWarn, "cannot accept a connection",
        Field("listener", socket_.endpoint().ToString()), Field("errno", errno));
    auto slept = co_await SleepFor(kAcceptPause);
    if (!slept) break;
  }
  co_await asio::this_coro::reset_cancellation_state();
  TaskScope farewell(executor_);
  farewell.Spawn(CancelLater());
  co_await connections_.Join();
  farewell.Cancel();
  co_await farewell.Join();
}

Awaitable<void> Acceptor::CancelLater() {
  auto slept = co_await SleepFor(kFarewell);
  if (slept) connections_.Cancel();
}

Awaitable<void> Acceptor::Serve(int fd) {
  std::unique_ptr<http::ByteStream> stream;
  if (socket_.endpoint().scheme != Endpoint::Scheme::kUnix) {
    const auto set = [fd](int level, int name, int value) {
      (void)setsockopt(fd, level, name, &value, sizeof value);
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, kAliveIdle);
    set(IPPROTO_TCP, TCP_KEEPINTVL, kAliveInterval);
    set(IPPROTO_TCP, TCP_KEEPCNT, kAliveProbes);
  }
  if (handshake_) {
    auto shaken =
        co_await WithDeadline(handshake_(fd), std::chrono::steady_clock::now() + kHandshakeLimit,
                              "a client's TLS handshake");
    if (!shaken) {
      Log(LogLevel::kDebug, "handshake failed", Field("error", shaken.error()));
      co_return;
    }
    stream = std::move(*shaken);
  } else {
    stream = http::AdoptSocket(executor_, fd);
  }
  co_await server_.Serve(std::move(stream));
}

}  // namespace cleanroom::server
