#include "os/socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "os/file.h"

namespace cleanroom::os {
namespace {

constexpr std::chrono::seconds kConnectLimit{10};

std::unexpected<Error> SocketError(std::string_view call, const std::string& path) {
  const int saved = errno;
  const ErrorCode code = saved == ECONNREFUSED ? ErrorCode::kUnavailable : CodeForErrno(saved);
  return Err(Error::FromErrno(code, saved, fmt::format("{} {}", call, path)));
}

// An address that reaches `path` through a descriptor of its directory, which stays open meanwhile.
struct ShortAddress {
  UniqueFd directory;
  sockaddr_un address = {};
};

Result<ShortAddress> Shorten(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
  if (parent.empty()) parent = "/";
  ShortAddress result;
  CR_TRY_ASSIGN(result.directory, OpenDir(parent));
  const std::string text = ProcFdPath(result.directory.get()) + "/" + name;
  result.address.sun_family = AF_UNIX;
  if (name.empty() || text.size() >= sizeof result.address.sun_path) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("socket {}: the last component is empty or too long", path));
  }
  std::memcpy(result.address.sun_path, text.data(), text.size());
  return result;
}

Result<UniqueFd> MakeSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrErrno(ErrorCode::kResourceExhausted, "socket");
  return fd;
}

// 0: no limit. Also for connect(2).
Result<void> LimitSending(int fd, std::chrono::seconds limit) {
  const timeval time = {.tv_sec = limit.count(), .tv_usec = 0};
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) == 0) return {};
  return ErrErrno(ErrorCode::kInternal, "limit a socket's patience");
}

const sockaddr* AsSockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> SocketPair() {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return ErrErrno(ErrorCode::kResourceExhausted, "socketpair");
  }
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Result<void> SendHandover(int socket, std::span<const int> fds, std::string_view text) {
  if (fds.size() > kMaxHandoverFds || text.empty()) {
    return Err(ErrorCode::kInternal, fmt::format("hand {} descriptors over", fds.size()));
  }
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxHandoverFds * sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return ErrErrno(ErrorCode::kInternal, "hand descriptors over");
  return WriteAll(socket, text.substr(static_cast<size_t>(sent)), "socket");
}

Result<Handover> ReceiveMessage(int socket) {
  Handover out;
  std::array<char, 4096> text;
  iovec part{text.data(), text.size()};
  alignas(cmsghdr)
      std::array<char, CMSG_SPACE(kMaxHandoverFds * sizeof(int)) + CMSG_SPACE(sizeof(ucred))>
          control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received = 0;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return ErrErrno(ErrorCode::kInternal, "take descriptors over");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
      out.sender = sender.pid;
    }
    if (header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      out.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return Err(ErrorCode::kDataCorrupt, "take descriptors over: some did not arrive");
  }
  if (received == 0) return Err(ErrorCode::kUnavailable, "the sender ended without a word");
  out.text.assign(text.data(), static_cast<size_t>(received));
  return out;
}

Result<Handover> ReceiveHandover(int socket) {
  CR_TRY_ASSIGN(Handover out, ReceiveMessage(socket));
  CR_TRY_ASSIGN(const std::string rest, ReadAll(socket, 64U << 10, "socket"));
  out.text += rest;
  return out;
}

Result<UniqueFd> ListenUnix(const std::string& path, mode_t mode) {
  CR_TRY_ASSIGN(const ShortAddress to, Shorten(path));
  struct stat info;
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return Err(ErrorCode::kAlreadyExists, fmt::format("{} exists and is not a socket", path));
    }
    auto other = ConnectUnix(path);
    if (other || other.error().code() == ErrorCode::kDeadlineExceeded) {
      return Err(ErrorCode::kAlreadyExists, fmt::format("another process listens on {}", path));
    }
    if (other.error().code() != ErrorCode::kUnavailable) return Err(std::move(other).error());
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return SocketError("remove", path);
  }
  CR_TRY_ASSIGN(UniqueFd fd, MakeSocket());
  // The mode of an unbound socket becomes the mode of the file that bind makes.
  if (fchmod(fd.get(), mode) != 0) return SocketError("chmod", path);
  if (bind(fd.get(), AsSockaddr(to.address), sizeof to.address) != 0) {
    if (errno == EADDRINUSE) errno = EEXIST;
    return SocketError("bind", path);
  }
  if (listen(fd.get(), SOMAXCONN) != 0) return SocketError("listen on", path);
  return fd;
}

Result<UniqueFd> ConnectUnix(const std::string& path) {
  CR_TRY_ASSIGN(const ShortAddress to, Shorten(path));
  CR_TRY_ASSIGN(UniqueFd fd, MakeSocket());
  // Whoever listens may be stopped, with as many callers waiting as there is room for.
  CR_TRY(LimitSending(fd.get(), kConnectLimit));
  while (connect(fd.get(), AsSockaddr(to.address), sizeof to.address) != 0) {
    if (errno == EAGAIN) {
      return Err(
          ErrorCode::kDeadlineExceeded,
          fmt::format("nobody takes connections on {} for {} s", path, kConnectLimit.count()));
    }
    if (errno != EINTR) return SocketError("connect to", path);
  }
  CR_TRY(LimitSending(fd.get(), std::chrono::seconds(0)));
  return fd;
}

}  // namespace cleanroom::os
