#include "http/socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>

namespace cleanroom::http {

Result<StreamSocket> TakeSocket(const asio::any_io_executor& executor, int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  int family = AF_UNIX;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    family = address.ss_family;
  StreamSocket socket(executor);
  boost::system::error_code error;
  socket.assign(asio::generic::stream_protocol(family, 0), fd, error);
  if (error) {
    ::close(fd);
    return Err(Error::FromErrno(ErrorCode::kUnavailable, error.value(), "taking a socket"));
  }
  if (family == AF_INET || family == AF_INET6) {
    boost::system::error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  }
  return socket;
}

}  // namespace cleanroom::http
