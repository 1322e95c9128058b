#include "os/socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "os/file.h"

namespace cleanroom::os {
namespace {

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

Result<UniqueFd> ListenUnix(const std::string& path, mode_t mode) {
  CR_TRY_ASSIGN(const ShortAddress to, Shorten(path));
  struct stat info;
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return Err(ErrorCode::kAlreadyExists, fmt::format("{} exists and is not a socket", path));
    }
    auto other = ConnectUnix(path);
    if (other) {
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
  while (connect(fd.get(), AsSockaddr(to.address), sizeof to.address) != 0) {
    if (errno != EINTR) return SocketError("connect to", path);
  }
  return fd;
}

Result<PeerCredentials> GetPeerCredentials(int fd) {
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrErrno(ErrorCode::kInternal, "read peer credentials");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace cleanroom::os
