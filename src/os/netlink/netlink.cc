#include "os/netlink/netlink.h"

#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "net/address_bytes.h"
#include "os/file.h"

namespace cleanroom::os {
namespace {

// A request with room for its few attributes.
template <typename Body>
struct Request {
  nlmsghdr header = {};
  Body body = {};
  std::array<char, 128> attributes = {};

  Request(uint16_t type, uint16_t flags) {
    header.nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }
  void Add(uint16_t type, const void* data, size_t size) {
    const rtattr attribute{static_cast<uint16_t>(RTA_LENGTH(size)), type};
    char* at = reinterpret_cast<char*>(this) + NLMSG_ALIGN(header.nlmsg_len);
    std::memcpy(at, &attribute, sizeof attribute);
    std::memcpy(at + RTA_LENGTH(0), data, size);
    header.nlmsg_len =
        static_cast<uint32_t>(NLMSG_ALIGN(header.nlmsg_len) + RTA_ALIGN(attribute.rta_len));
  }
};

uint8_t FamilyOf(const std::string& address) { return address.size() == 4 ? AF_INET : AF_INET6; }

}  // namespace

Result<Netlink> Netlink::Open() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return ErrErrno(ErrorCode::kInternal, "open a netlink socket");
  return Netlink(std::move(fd));
}

Result<unsigned> Netlink::IndexOf(const std::string& interface) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return ErrErrno(ErrorCode::kNotFound, fmt::format("interface {}", interface));
  return index;
}

Result<void> Netlink::Send(void* message, const std::string& what) {
  auto* header = static_cast<nlmsghdr*>(message);
  if (send(fd_.get(), header, header->nlmsg_len, 0) < 0) {
    return ErrErrno(ErrorCode::kInternal, what);
  }
  alignas(nlmsghdr) std::array<char, 4096> reply;
  ssize_t n = 0;
  do {
    n = recv(fd_.get(), reply.data(), reply.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) {
    return ErrErrno(ErrorCode::kInternal, what);
  }
  const auto* answer = reinterpret_cast<const nlmsghdr*>(reply.data());
  const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(answer));
  if (answer->nlmsg_type != NLMSG_ERROR) return Err(ErrorCode::kInternal, what + ": no answer");
  if (error->error != 0) {
    return Err(Error::FromErrno(CodeForErrno(-error->error), -error->error, what));
  }
  return {};
}

Result<void> Netlink::SetUp(unsigned index, const std::string& mac) {
  Request<ifinfomsg> request(RTM_NEWLINK, 0);
  request.body.ifi_family = AF_UNSPEC;
  request.body.ifi_index = static_cast<int>(index);
  request.body.ifi_flags = IFF_UP;
  request.body.ifi_change = IFF_UP;
  if (!mac.empty()) {
    CR_TRY_ASSIGN(const std::string address, net::MacBytes(mac));
    request.Add(IFLA_ADDRESS, address.data(), address.size());
  }
  return Send(&request, fmt::format("bring interface {} up", index));
}

Result<void> Netlink::AddAddress(unsigned index, const std::string& address, int prefix) {
  CR_TRY_ASSIGN(const std::string ip, net::AddressBytes(address));
  Request<ifaddrmsg> request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  request.body.ifa_family = FamilyOf(ip);
  request.body.ifa_prefixlen = static_cast<uint8_t>(prefix);
  request.body.ifa_flags = IFA_F_NODAD;
  request.body.ifa_index = index;
  request.Add(IFA_LOCAL, ip.data(), ip.size());
  request.Add(IFA_ADDRESS, ip.data(), ip.size());
  return Send(&request, fmt::format("add address {}/{}", address, prefix));
}

Result<void> Netlink::AddNeighbour(unsigned index, const std::string& address,
                                   const std::string& mac) {
  CR_TRY_ASSIGN(const std::string ip, net::AddressBytes(address));
  CR_TRY_ASSIGN(const std::string hardware, net::MacBytes(mac));
  Request<ndmsg> request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  request.body.ndm_family = FamilyOf(ip);
  request.body.ndm_ifindex = static_cast<int>(index);
  request.body.ndm_state = NUD_PERMANENT;
  request.Add(NDA_DST, ip.data(), ip.size());
  request.Add(NDA_LLADDR, hardware.data(), hardware.size());
  return Send(&request, fmt::format("add neighbour {}", address));
}

Result<void> Netlink::AddDefaultRoute(unsigned index, const std::string& gateway) {
  CR_TRY_ASSIGN(const std::string ip, net::AddressBytes(gateway));
  Request<rtmsg> route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  route.body.rtm_family = FamilyOf(ip);
  route.body.rtm_table = RT_TABLE_MAIN;
  route.body.rtm_protocol = RTPROT_BOOT;
  route.body.rtm_scope = RT_SCOPE_UNIVERSE;
  route.body.rtm_type = RTN_UNICAST;
  route.body.rtm_flags = RTNH_F_ONLINK;
  const uint32_t interface = index;
  route.Add(RTA_GATEWAY, ip.data(), ip.size());
  route.Add(RTA_OIF, &interface, sizeof interface);
  return Send(&route, fmt::format("add a default route by {}", gateway));
}

Result<void> Netlink::DeliverMarked(uint8_t family, uint32_t mark, uint32_t table,
                                    unsigned loopback) {
  Request<fib_rule_hdr> rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
  rule.body.family = family;
  rule.body.action = FR_ACT_TO_TBL;
  rule.body.table = RT_TABLE_UNSPEC;  // FRA_TABLE has it
  rule.Add(FRA_FWMARK, &mark, sizeof mark);
  rule.Add(FRA_TABLE, &table, sizeof table);
  CR_TRY(Send(&rule, fmt::format("add the rule for packets with mark {}", mark)));

  Request<rtmsg> route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  route.body.rtm_family = family;
  route.body.rtm_protocol = RTPROT_STATIC;
  route.body.rtm_scope = RT_SCOPE_HOST;
  route.body.rtm_type = RTN_LOCAL;
  const auto interface = static_cast<uint32_t>(loopback);
  route.Add(RTA_TABLE, &table, sizeof table);
  route.Add(RTA_OIF, &interface, sizeof interface);
  return Send(&route, fmt::format("add the local route of table {}", table));
}

}  // namespace cleanroom::os
