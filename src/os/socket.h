// Unix stream sockets, at paths of any length.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

// Two connected, blocking, close-on-exec stream sockets.
Result<std::pair<UniqueFd, UniqueFd>> SocketPair();

// What one process hands another over a stream socket: descriptors, and a text of at most 64 KiB.
struct Handover {
  std::vector<UniqueFd> fds;
  std::string text;
  pid_t sender = 0;  // where the socket has SO_PASSCRED
};

// Sends copies of the descriptors, at most kMaxHandoverFds, and the text, which is not empty.
inline constexpr size_t kMaxHandoverFds = 32;
Result<void> SendHandover(int socket, std::span<const int> fds, std::string_view text);
// Blocks for what arrives next, of at most 4 KiB. The descriptors are close-on-exec.
// unavailable when the sender ended without a word, data_corrupt when descriptors did not fit.
Result<Handover> ReceiveMessage(int socket);
// The same for a handover that ends with the end of the stream.
Result<Handover> ReceiveHandover(int socket);

// Listens at `path`, whose directory exists. The socket file has `mode` from its first moment. A
// socket file that nobody listens on any more is replaced; already_exists when somebody does, or
// when `path` is not a socket. sun_path's 108 bytes limit only the last component (to about 80
// bytes).
Result<UniqueFd> ListenUnix(const std::string& path, mode_t mode = 0600);

// Connects, blocking. not_found when there is no such file, unavailable when nobody listens.
Result<UniqueFd> ConnectUnix(const std::string& path);

}  // namespace cleanroom::os
