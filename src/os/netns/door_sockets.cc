#include "os/netns/door_sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

#include "os/netns/config.h"

namespace cleanroom::os {
namespace {

Result<void> SetOption(int fd, int level, int option) {
  const int on = 1;
  if (setsockopt(fd, level, option, &on, sizeof on) != 0) {
    return ErrErrno(ErrorCode::kFailedPrecondition, "set up a door's socket");
  }
  return {};
}

Result<UniqueFd> MakeSocket(int family, int type, int protocol) {
  UniqueFd fd(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd) return ErrErrno(ErrorCode::kFailedPrecondition, "make a door's socket");
  return fd;
}

// A transparent socket on loopback: it gets what the rules redirect, under the wanted address.
Result<UniqueFd> MakeTransparent(int family, int type, uint16_t port) {
  CR_TRY_ASSIGN(UniqueFd fd, MakeSocket(family, type, 0));
  sockaddr_storage address = {};
  socklen_t size = 0;
  address.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    auto& at = reinterpret_cast<sockaddr_in&>(address);
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof at;
    CR_TRY(SetOption(fd.get(), SOL_IP, IP_TRANSPARENT));
    if (type == SOCK_DGRAM) CR_TRY(SetOption(fd.get(), SOL_IP, IP_RECVORIGDSTADDR));
  } else {
    auto& at = reinterpret_cast<sockaddr_in6&>(address);
    at.sin6_port = htons(port);
    at.sin6_addr.s6_addr[15] = 1;
    size = sizeof at;
    CR_TRY(SetOption(fd.get(), SOL_IPV6, IPV6_V6ONLY));
    CR_TRY(SetOption(fd.get(), SOL_IPV6, IPV6_TRANSPARENT));
    if (type == SOCK_DGRAM) CR_TRY(SetOption(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR));
  }
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return ErrErrno(ErrorCode::kFailedPrecondition, "bind a door's socket");
  }
  if (type == SOCK_STREAM && listen(fd.get(), kDoorBacklog) != 0) {
    return ErrErrno(ErrorCode::kFailedPrecondition, "listen at the TCP door");
  }
  return fd;
}

}  // namespace

Result<DoorSockets> MakeDoorSockets(Families families) {
  DoorSockets out;
  CR_TRY_ASSIGN(out.tcp4, MakeTransparent(AF_INET, SOCK_STREAM, kTcpDoorPort));
  CR_TRY_ASSIGN(out.dns4, MakeTransparent(AF_INET, SOCK_DGRAM, kDnsPort));
  CR_TRY_ASSIGN(out.udp4, MakeTransparent(AF_INET, SOCK_DGRAM, kUdpDoorPort));
  CR_TRY_ASSIGN(out.raw4, MakeSocket(AF_INET, SOCK_RAW, IPPROTO_RAW));
  if (families == Families::kIpv4) return out;
  CR_TRY_ASSIGN(out.tcp6, MakeTransparent(AF_INET6, SOCK_STREAM, kTcpDoorPort));
  CR_TRY_ASSIGN(out.dns6, MakeTransparent(AF_INET6, SOCK_DGRAM, kDnsPort));
  CR_TRY_ASSIGN(out.udp6, MakeTransparent(AF_INET6, SOCK_DGRAM, kUdpDoorPort));
  CR_TRY_ASSIGN(out.raw6, MakeSocket(AF_INET6, SOCK_RAW, IPPROTO_RAW));
  return out;
}

}  // namespace cleanroom::os
