// Listeners: the sockets where the API is reached, and the connections that came in through them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/async.h"
#include "config/endpoint.h"
#include "http/byte_stream.h"
#include "os/unique_fd.h"
#include "rpc/server.h"

namespace cleanroom::server {

// Of a unix socket, which one user can reach.
inline constexpr size_t kMaxLocalConnections = 1024;

// A bound socket. A unix socket's file has mode 0600 and goes with the listener.
class ListenSocket {
 public:
  // Unix: the folder is made (0700); a stale socket is replaced, a live one is already_exists. http
  // and https: the host is an IP literal or "localhost"; port 0 takes any.
  static Result<ListenSocket> Open(const config::Endpoint& endpoint);
  ListenSocket(ListenSocket&&) noexcept = default;
  ListenSocket& operator=(ListenSocket&&) = delete;
  ~ListenSocket();

  int fd() const { return fd_.get(); }
  // With the real port.
  const config::Endpoint& endpoint() const { return endpoint_; }

 private:
  ListenSocket(os::UniqueFd fd, config::Endpoint endpoint)
      : fd_(std::move(fd)), endpoint_(std::move(endpoint)) {}
  os::UniqueFd fd_;
  config::Endpoint endpoint_;
};

// Whether `host` (an IP literal or "localhost") can be reached from this machine only.
bool IsLoopback(const std::string& host);

// Takes an accepted socket to the stream that is served: TLS's handshake, or nothing at all. An
// error closes the connection.
using Handshake = std::function<Awaitable<Result<std::unique_ptr<http::ByteStream>>>(int fd)>;

class Acceptor {
 public:
  // `server` outlives it. `handshake` may be empty: plain. Beyond `max_connections` a new one waits
  // in the kernel until one has ended, and the log says so.
  Acceptor(asio::any_io_executor executor, ListenSocket socket, const rpc::Server& server,
           Handshake handshake, size_t max_connections);

  // Accepts until the task is cancelled, then ends the connections within `kFarewell`.
  Awaitable<void> Run();
  const config::Endpoint& endpoint() const { return socket_.endpoint(); }

  // How long calls under way may take to end by themselves.
  static constexpr std::chrono::milliseconds kFarewell{300};

 private:
  Awaitable<void> Serve(int fd);
  Awaitable<void> CancelLater();

  asio::any_io_executor executor_;
  ListenSocket socket_;
  const rpc::Server& server_;
  Handshake handshake_;
  const size_t max_connections_;
  TaskScope connections_;
};

}  // namespace cleanroom::server
