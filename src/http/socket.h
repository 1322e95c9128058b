// Sockets as Asio has them.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>

#include "base/async.h"

namespace cleanroom::http {

using StreamSocket = asio::generic::stream_protocol::socket;

// Takes the descriptor of a connected stream socket (Unix, IPv4, IPv6), which it closes when that
// fails. TCP sends what is written at once.
Result<StreamSocket> TakeSocket(const asio::any_io_executor& executor, int fd);

}  // namespace cleanroom::http
