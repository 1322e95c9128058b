#include "os/netns/rules.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nftables/libnftables.h>

#include <array>
#include <cstdint>
#include <memory>

namespace cleanroom::os {
namespace {

struct FreeNft {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

// IPv6 headers that are no transport (IANA "IPv6 Extension Header Types"): hop-by-hop, routing,
// fragment, authentication, destination options, mobility, HIP, shim6, and two for experiments.
constexpr char kExtensionHeaders[] = "{ 0, 43, 44, 51, 60, 135, 139, 140, 253, 254 }";

}  // namespace

Result<std::string> DoorRules(const NetNsConfig& config, Families families) {
  std::array<uint8_t, 16> gateway = {};
  if (inet_pton(AF_INET6, config.gateway_ipv6.c_str(), gateway.data()) != 1) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is not an IPv6 address", config.gateway_ipv6));
  }
  const bool ipv6 = families == Families::kIpv4AndIpv6;
  const std::string ipv6_frames = fmt::format(
      R"(
  chain from_ipv6 {{
    ip6 saddr != {guest} counter drop comment "spoofed"
    ip6 nexthdr {headers} counter drop comment "extension headers"
    icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 @th,64,128 0x{gateway:02x} counter accept comment "asks for the gateway"
    ether daddr != {mac} counter drop comment "to another station"
    ip6 daddr {{ ::/96, ::ffff:0:0/96, ff00::/8 }} counter drop comment "no host's address"
    accept
  }})",
      fmt::arg("guest", config.guest_ipv6), fmt::arg("headers", kExtensionHeaders),
      fmt::arg("gateway", fmt::join(gateway, "")), fmt::arg("mac", config.gateway_mac));
  const std::string ipv6_doors = fmt::format(
      R"(
    meta nfproto ipv6 udp dport {dns} tproxy ip6 to [::1]:{dns} meta mark set {mark} counter accept comment "DNS door"
    meta nfproto ipv6 meta l4proto udp tproxy ip6 to [::1]:{udp} meta mark set {mark} counter accept comment "UDP door"
    meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:{tcp} meta mark set {mark} counter accept comment "TCP door")",
      fmt::arg("dns", kDnsPort), fmt::arg("udp", kUdpDoorPort), fmt::arg("tcp", kTcpDoorPort),
      fmt::arg("mark", kDoorMark));
  return fmt::format(
      R"(table netdev cleanroom {{
  chain from_arp {{
    arp operation request arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {guest_mac} arp saddr ip {guest} arp daddr ip {gateway} counter accept comment "asks for the gateway"
  }}
  chain from_ipv4 {{
    ip saddr != {guest} counter drop comment "spoofed"
    ip hdrlength != 5 counter drop comment "options"
    ip frag-off & 0x3fff != 0 counter drop comment "fragment"
    ether daddr != {gateway_mac} counter drop comment "to another station"
    ip daddr {{ 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/3 }} counter drop comment "no host's address"
    accept
  }}{ipv6_frames}
  chain frames {{
    type filter hook ingress device "{tap}" priority 0; policy drop;
    ether saddr != {guest_mac} counter drop comment "another sender"
    ether type {{ 8021q, 8021ad }} counter drop comment "tagged"
    meta protocol vmap {{ ip : jump from_ipv4, arp : jump from_arp{ipv6_jump} }}
    counter drop comment "anything else"
  }}
}}
table inet cleanroom {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy drop;
    iifname "lo" accept
    iifname != "{tap}" counter drop comment "no other interface"
    icmpv6 type nd-neighbor-solicit accept
    meta nfproto ipv4 udp dport {dns} tproxy ip to 127.0.0.1:{dns} meta mark set {mark} counter accept comment "DNS door"
    meta nfproto ipv4 meta l4proto udp tproxy ip to 127.0.0.1:{udp} meta mark set {mark} counter accept comment "UDP door"
    meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:{tcp} meta mark set {mark} counter accept comment "TCP door"{ipv6_doors}
    meta l4proto tcp counter reject with tcp reset
    counter reject with icmpx admin-prohibited
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    meta mark {mark} meta l4proto {{ tcp, udp }} accept
    icmpv6 type nd-neighbor-solicit accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
  }}
}}
)",
      fmt::arg("tap", config.tap_name), fmt::arg("guest", config.guest_ipv4),
      fmt::arg("gateway", config.gateway_ipv4), fmt::arg("guest_mac", config.guest_mac),
      fmt::arg("gateway_mac", config.gateway_mac), fmt::arg("ipv6_frames", ipv6 ? ipv6_frames : ""),
      fmt::arg("ipv6_jump", ipv6 ? ", ip6 : jump from_ipv6" : ""),
      fmt::arg("ipv6_doors", ipv6 ? ipv6_doors : ""), fmt::arg("dns", kDnsPort),
      fmt::arg("udp", kUdpDoorPort), fmt::arg("tcp", kTcpDoorPort), fmt::arg("mark", kDoorMark));
}

Result<void> LoadRules(const std::string& rules) {
  const std::unique_ptr<nft_ctx, FreeNft> nft(nft_ctx_new(NFT_CTX_DEFAULT));
  if (nft == nullptr) return Err(ErrorCode::kInternal, "nftables: cannot make a context");
  nft_ctx_buffer_error(nft.get());
  nft_ctx_buffer_output(nft.get());
  if (nft_run_cmd_from_buffer(nft.get(), rules.c_str()) != 0) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("load the network rules: {}; the kernel (5.10 or later) needs nf_tables "
                           "with netdev, inet, reject and tproxy support",
                           nft_ctx_get_error_buffer(nft.get())));
  }
  return {};
}

}  // namespace cleanroom::os
