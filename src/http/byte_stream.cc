#include "http/byte_stream.h"

#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <type_traits>
#include <utility>

#include "http/socket.h"

namespace cleanroom::http {
namespace {

template <typename Device>
class DeviceStream final : public ByteStream {
 public:
  explicit DeviceStream(Device device) : device_(std::move(device)) {}

  Awaitable<Result<size_t>> Read(std::span<std::byte> buffer) override {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "reading was cancelled");
    if (!device_.is_open()) co_return Err(ErrorCode::kUnavailable, "the connection is closed");
    auto [error, n] =
        co_await device_.async_read_some(asio::buffer(buffer.data(), buffer.size()), kAwait);
    if (!error) co_return n + TakeMore(buffer.subspan(n));
    if (error == asio::error::eof) co_return size_t{0};
    co_return Failure(error, "reading");
  }

  Awaitable<Result<void>> Write(std::span<const std::byte> data) override {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "writing was cancelled");
    if (!device_.is_open()) co_return Err(ErrorCode::kUnavailable, "the connection is closed");
    data = data.subspan(WriteNow(data));
    if (data.empty()) co_return Result<void>();
    auto [error, n] =
        co_await asio::async_write(device_, asio::buffer(data.data(), data.size()), kAwait);
    (void)n;
    if (!error) co_return Result<void>();
    co_return Failure(error, "writing");
  }

  void Close() override {
    boost::system::error_code ignored;
    device_.close(ignored);
  }

  asio::any_io_executor executor() override { return device_.get_executor(); }

 private:
  // A virtio-serial port gives at most one page for each read(2): takes what else lies ready, so
  // that what every read of ours costs is spread over more. A socket has given everything at once.
  // What ends the loop is seen by the next operation.
  size_t TakeMore(std::span<std::byte> buffer) {
    size_t taken = 0;
    if constexpr (std::is_same_v<Device, asio::posix::stream_descriptor>) {
      while (device_.is_open() && taken < buffer.size()) {
        const ssize_t n =
            ::read(device_.native_handle(), buffer.data() + taken, buffer.size() - taken);
        if (n <= 0) break;
        taken += static_cast<size_t>(n);
      }
    }
    return taken;
  }

  // The same for writing: a port takes at most 32 KiB at once.
  size_t WriteNow(std::span<const std::byte> data) {
    size_t done = 0;
    if constexpr (std::is_same_v<Device, asio::posix::stream_descriptor>) {
      while (done < data.size()) {
        const ssize_t n = ::write(device_.native_handle(), data.data() + done, data.size() - done);
        if (n <= 0) break;
        done += static_cast<size_t>(n);
      }
    }
    return done;
  }

  std::unexpected<Error> Failure(const boost::system::error_code& error, const char* what) const {
    if (error == asio::error::operation_aborted && device_.is_open()) {
      return Err(ErrorCode::kCanceled, std::string(what) + " was cancelled");
    }
    if (!device_.is_open()) return Err(ErrorCode::kUnavailable, "the connection is closed");
    return Err(Error::FromErrno(ErrorCode::kUnavailable, error.value(), what));
  }

  Device device_;
};

}  // namespace

std::unique_ptr<ByteStream> AdoptSocket(asio::any_io_executor executor, int fd) {
  auto socket = TakeSocket(executor, fd);
  // One that cannot be taken makes a stream that is born closed: every operation fails.
  return std::make_unique<DeviceStream<StreamSocket>>(socket ? *std::move(socket)
                                                             : StreamSocket(executor));
}

std::unique_ptr<ByteStream> AdoptDescriptor(asio::any_io_executor executor, int fd) {
  asio::posix::stream_descriptor descriptor(executor);
  boost::system::error_code error;
  descriptor.assign(fd, error);
  if (error) {
    ::close(fd);
  } else {
    descriptor.native_non_blocking(true, error);
  }
  return std::make_unique<DeviceStream<asio::posix::stream_descriptor>>(std::move(descriptor));
}

}  // namespace cleanroom::http
