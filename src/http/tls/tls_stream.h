// TLS over a socket as a ByteStream: TLS 1.2 or later, ALPN "h2" and "http/1.1". A library of its own, so that
// the guest agent and the wardens link no OpenSSL.
#pragma once

#include <memory>
#include <string>

#include "base/async.h"
#include "base/result.h"
#include "http/byte_stream.h"

namespace cleanroom::http {

// A server's certificate and key, for any number of connections. Outlives them.
class TlsServer {
 public:
  // PEM files; the certificate may be followed by its chain. kInvalidArgument names the file at fault.
  static Result<std::unique_ptr<TlsServer>> Create(const std::string& cert_file, const std::string& key_file);
  virtual ~TlsServer() = default;
  // Shakes hands on a connected socket, which it takes. kUnavailable when the peer fails to. Bound it with
  // a deadline: the peer decides how long it takes.
  virtual Awaitable<Result<std::unique_ptr<ByteStream>>> Accept(asio::any_io_executor executor, int fd) = 0;
};

// What a client trusts. Outlives its connections.
class TlsClient {
 public:
  // `ca_file`: PEM; empty: the system's. kInvalidArgument names the file at fault.
  static Result<std::unique_ptr<TlsClient>> Create(const std::string& ca_file);
  virtual ~TlsClient() = default;
  // Shakes hands on a connected socket, which it takes, and checks that the peer is `host` (a name or an
  // address). kUnavailable when it is not, or does not speak HTTP/2 over TLS.
  virtual Awaitable<Result<std::unique_ptr<ByteStream>>> Connect(asio::any_io_executor executor, int fd,
                                                                 std::string host) = 0;
};

}  // namespace cleanroom::http
