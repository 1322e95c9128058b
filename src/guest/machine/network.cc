#include "guest/machine/network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "net/address_bytes.h"
#include "os/netlink/netlink.h"
#include "os/unique_fd.h"

namespace cleanroom::guest {
namespace {

struct Prefixed {
  std::string address;
  int length = 0;
};

Result<Prefixed> ParsePrefixed(const std::string& text) {
  const size_t slash = text.find('/');
  Prefixed out{.address = text.substr(0, slash)};
  CR_TRY_ASSIGN(const std::string bytes, net::AddressBytes(out.address));
  const int longest = static_cast<int>(bytes.size() * 8);
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, out.length);
    if (error == std::errc() && stop == end && out.length >= 0 && out.length <= longest) return out;
  }
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("'{}' is not ADDRESS/LENGTH with a length up to {}", text, longest));
}

Result<std::string> FindInterface(int socket, const std::string& mac) {
  CR_TRY_ASSIGN(const std::string wanted, net::MacBytes(mac));
  struct if_nameindex* const interfaces = if_nameindex();
  if (interfaces == nullptr) return ErrErrno(ErrorCode::kInternal, "list interfaces");
  std::string found;
  for (const struct if_nameindex* entry = interfaces; entry->if_index != 0; ++entry) {
    ifreq request = {};
    strncpy(request.ifr_name, entry->if_name, IFNAMSIZ - 1);
    if (ioctl(socket, SIOCGIFHWADDR, &request) != 0) continue;
    if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) continue;
    if (memcmp(request.ifr_hwaddr.sa_data, wanted.data(), wanted.size()) == 0) {
      found = entry->if_name;
    }
  }
  if_freenameindex(interfaces);
  if (found.empty()) {
    return Err(ErrorCode::kNotFound, fmt::format("no interface has the hardware address {}", mac));
  }
  return found;
}

// Absent in a kernel without IPv6.
void SetIpv6(const std::string& interface, std::string_view key) {
  const os::UniqueFd file(open(fmt::format("/proc/sys/net/ipv6/conf/{}/{}", interface, key).c_str(),
                               O_WRONLY | O_CLOEXEC));
  if (file) (void)!write(file.get(), "0", 1);
}

}  // namespace

Result<void> SetUpNetwork(const NetworkConfig& config) {
  CR_TRY_ASSIGN(os::Netlink netlink, os::Netlink::Open());
  const os::UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any) return ErrErrno(ErrorCode::kInternal, "socket for the network's set-up");
  CR_TRY(netlink.SetUp(if_nametoindex("lo")));
  if (config.mac.empty()) return {};
  CR_TRY_ASSIGN(const std::string name, FindInterface(any.get(), config.mac));
  CR_TRY_ASSIGN(const unsigned index, os::Netlink::IndexOf(name));
  SetIpv6(name, "accept_dad");
  SetIpv6(name, "accept_ra");
  CR_TRY(netlink.SetUp(index));
  for (const std::string& text : config.addresses) {
    CR_TRY_ASSIGN(const Prefixed prefixed, ParsePrefixed(text));
    CR_TRY(netlink.AddAddress(index, prefixed.address, prefixed.length));
  }
  for (const std::string& gateway : config.gateways) {
    CR_TRY(netlink.AddDefaultRoute(index, gateway));
  }
  return {};
}

}  // namespace cleanroom::guest
