// ByteStream: an ordered, reliable, bidirectional stream of bytes, whatever carries it: a unix or
// TCP socket, TLS, or the guest's serial port. Everything in http and rpc stands on it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/async.h"

namespace cleanroom::http {

// Owned by whoever serves or calls over it. One reader and one writer at a time, on the executor's
// thread.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // Reads at least one byte; 0 means the peer has finished sending. kCanceled when the task is
  // cancelled, kUnavailable when the connection is broken.
  virtual Awaitable<Result<size_t>> Read(std::span<std::byte> buffer) = 0;
  // Writes all of it. Errors as for Read.
  virtual Awaitable<Result<void>> Write(std::span<const std::byte> data) = 0;
  // Fails what is pending, in either direction, and everything after. Idempotent.
  virtual void Close() = 0;
  virtual asio::any_io_executor executor() = 0;
};

// Takes a connected stream socket (unix or TCP).
std::unique_ptr<ByteStream> AdoptSocket(asio::any_io_executor executor, int fd);
// Takes any descriptor that poll(2) works on, such as a virtio-serial port.
std::unique_ptr<ByteStream> AdoptDescriptor(asio::any_io_executor executor, int fd);

}  // namespace cleanroom::http
