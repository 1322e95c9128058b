#include "guest/machine/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "os/file.h"
#include "os/unique_fd.h"

namespace cleanroom::guest {
namespace {

struct Address {
  unsigned char family = AF_INET;
  std::array<unsigned char, 16> bytes{};
  size_t size = 4;
  unsigned char prefix = 0;
};

Result<Address> ParseAddress(const std::string& text) {
  Address address;
  if (text.find(':') != std::string::npos) {
    address.family = AF_INET6;
    address.size = 16;
  }
  address.prefix = static_cast<unsigned char>(address.size * 8);
  if (inet_pton(address.family, text.c_str(), address.bytes.data()) != 1) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not an IP address", text));
  }
  return address;
}

Result<Address> ParsePrefixed(const std::string& text) {
  const size_t slash = text.find('/');
  CR_TRY_ASSIGN(Address address, ParseAddress(text.substr(0, slash)));
  const size_t longest = address.size * 8;
  unsigned char prefix = 0;
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, prefix);
    if (error == std::errc() && stop == end && prefix <= longest) {
      address.prefix = prefix;
      return address;
    }
  }
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("'{}' is not ADDRESS/LENGTH with a length up to {}", text, longest));
}

// One rtnetlink request: a header, a fixed part and attributes.
class Request {
 public:
  Request(uint16_t type, uint16_t flags, const void* fixed, size_t size) {
    header_.nlmsg_type = type;
    header_.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    buffer_.resize(NLMSG_HDRLEN);
    Append(fixed, size);
  }
  void Add(uint16_t type, const void* data, size_t size) {
    rtattr attribute = {};
    attribute.rta_type = type;
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    Append(&attribute, sizeof attribute);
    Append(data, size);
  }
  std::string Take() {
    header_.nlmsg_len = static_cast<uint32_t>(buffer_.size());
    memcpy(buffer_.data(), &header_, sizeof header_);
    return std::move(buffer_);
  }

 private:
  void Append(const void* data, size_t size) {
    buffer_.append(static_cast<const char*>(data), size);
    buffer_.resize(NLMSG_ALIGN(buffer_.size()));
  }
  nlmsghdr header_ = {};
  std::string buffer_;
};

Result<void> Perform(int socket, Request request, const std::string& what) {
  const std::string message = request.Take();
  if (send(socket, message.data(), message.size(), 0) < 0) {
    return ErrErrno(ErrorCode::kInternal, what);
  }
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[1024];  // the request, repeated
  } answer = {};
  const ssize_t n = recv(socket, &answer, sizeof answer, 0);
  if (n < 0) return ErrErrno(ErrorCode::kInternal, what);
  if (static_cast<size_t>(n) < sizeof answer.header + sizeof answer.error.error ||
      answer.header.nlmsg_type != NLMSG_ERROR) {
    return Err(ErrorCode::kInternal, fmt::format("{}: unexpected answer of the kernel", what));
  }
  if (answer.error.error == 0) return {};
  return Err(Error::FromErrno(ErrorCode::kInternal, -answer.error.error, what));
}

Result<void> BringUp(int socket, int index, const std::string& name) {
  ifinfomsg link = {};
  link.ifi_index = index;
  link.ifi_flags = IFF_UP;
  link.ifi_change = IFF_UP;
  return Perform(socket, Request(RTM_NEWLINK, 0, &link, sizeof link),
                 fmt::format("bring up {}", name));
}

Result<void> AddAddress(int socket, int index, const std::string& text) {
  CR_TRY_ASSIGN(const Address address, ParsePrefixed(text));
  ifaddrmsg fixed = {};
  fixed.ifa_family = address.family;
  fixed.ifa_prefixlen = address.prefix;
  fixed.ifa_flags = IFA_F_NODAD;
  fixed.ifa_index = static_cast<uint32_t>(index);
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &fixed, sizeof fixed);
  request.Add(IFA_LOCAL, address.bytes.data(), address.size);
  request.Add(IFA_ADDRESS, address.bytes.data(), address.size);
  return Perform(socket, std::move(request), fmt::format("add address {}", text));
}

Result<void> AddDefaultRoute(int socket, int index, const std::string& text) {
  CR_TRY_ASSIGN(const Address gateway, ParseAddress(text));
  rtmsg route = {};
  route.rtm_family = gateway.family;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = RTPROT_BOOT;
  route.rtm_scope = RT_SCOPE_UNIVERSE;
  route.rtm_type = RTN_UNICAST;
  // The gateway is on this link, whatever the prefixes say.
  route.rtm_flags = RTNH_F_ONLINK;
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof route);
  request.Add(RTA_GATEWAY, gateway.bytes.data(), gateway.size);
  request.Add(RTA_OIF, &index, sizeof index);
  return Perform(socket, std::move(request), fmt::format("add a default route by {}", text));
}

Result<std::string> FindInterface(int socket, const std::string& mac) {
  std::array<unsigned, 6> byte{};
  std::array<char, 6> wanted{};
  if (sscanf(mac.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0], &byte[1], &byte[2], &byte[3],
             &byte[4], &byte[5]) != 6) {
    return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a hardware address", mac));
  }
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = static_cast<char>(byte[i]);
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
  const os::UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const os::UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!netlink || !any) return ErrErrno(ErrorCode::kInternal, "socket for the network's set-up");
  CR_TRY(BringUp(netlink.get(), static_cast<int>(if_nametoindex("lo")), "lo"));
  if (config.mac.empty()) return {};
  CR_TRY_ASSIGN(const std::string name, FindInterface(any.get(), config.mac));
  const int index = static_cast<int>(if_nametoindex(name.c_str()));
  SetIpv6(name, "accept_dad");
  SetIpv6(name, "accept_ra");
  CR_TRY(BringUp(netlink.get(), index, name));
  for (const std::string& address : config.addresses) {
    CR_TRY(AddAddress(netlink.get(), index, address));
  }
  for (const std::string& gateway : config.gateways) {
    CR_TRY(AddDefaultRoute(netlink.get(), index, gateway));
  }
  return {};
}

}  // namespace cleanroom::guest
