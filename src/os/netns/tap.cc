#include "os/netns/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "os/jail/identity.h"

namespace cleanroom::os {
namespace {

constexpr char kTun[] = "/dev/net/tun";

Result<UniqueFd> OpenTun() {
  UniqueFd fd(open(kTun, O_RDWR | O_CLOEXEC));
  if (fd) return fd;
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    return NotAllowed(fmt::format("open {}", kTun),
                      "load the module (modprobe tun), or give the container the device "
                      "(--device /dev/net/tun)");
  }
  return NotAllowed(fmt::format("open {}", kTun),
                    "it must be readable and writable for the user Cleanroom runs as "
                    "(Debian's udev rule makes it mode 0666)");
}

}  // namespace

// The TAP belongs to the namespace that its descriptor was opened in.
Result<UniqueFd> MakeTap(const std::string& name) {
  CR_TRY_ASSIGN(UniqueFd fd, OpenTun());
  ifreq request = {};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (name.size() >= sizeof request.ifr_name) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("interface name {} is too long", name));
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    return NotAllowed(fmt::format("make the TAP {}", name), "the kernel must support TAP devices");
  }
  // It goes with its namespace, in the background: going with its last descriptor would make
  // whoever closes that wait for some 30 ms.
  (void)ioctl(fd.get(), TUNSETPERSIST, 1);
  return fd;
}

Result<void> CheckTun() {
  CR_TRY_ASSIGN(const UniqueFd fd, OpenTun());
  return {};
}

}  // namespace cleanroom::os
