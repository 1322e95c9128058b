#include "os/netns/rules.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/address_bytes.h"
#include "os/netns/nf_tables.h"

namespace cleanroom::os {
namespace {

// How nft counts types: of EtherTypes and of IP protocols (its datatype.h).
constexpr uint32_t kEtherTypeType = 10;
constexpr uint32_t kProtocolType = 12;

// Where fields lie: ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), neighbour solicitations
// (RFC 4861 4.3).
constexpr uint32_t kArpSender = 8;
constexpr uint32_t kArpTarget = 24;
constexpr uint32_t kIpv4Fragment = 6;
constexpr uint32_t kIpv4Source = 12;
constexpr uint32_t kIpv4Destination = 16;
constexpr uint32_t kIpv6NextHeader = 6;
constexpr uint32_t kIpv6HopLimit = 7;
constexpr uint32_t kIpv6Source = 8;
constexpr uint32_t kIpv6Destination = 24;
constexpr uint32_t kSolicitedAddress = 8;
constexpr uint32_t kDestinationPort = 2;

// Base chains: before anything else of their hook, and where nft's "mangle" and "filter" are.
constexpr int32_t kPriorityMangle = -150;
constexpr int32_t kPriorityFilter = 0;

struct Inner {
  std::string tap;  // IFNAMSIZ bytes
  std::string guest_mac;
  std::string gateway_mac;
  std::string guest4;
  std::string gateway4;
  std::string guest6;
  std::string gateway6;
};

std::string Byte(int value) { return std::string(1, static_cast<char>(value)); }

std::string Word(uint16_t host_order) { return Byte(host_order >> 8) + Byte(host_order & 0xff); }

template <typename T>
std::string HostOrder(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string InterfaceName(std::string_view name) {
  std::string bytes(name);
  bytes.resize(IFNAMSIZ);
  return bytes;
}

// The first `prefix` bits of `size` bytes.
std::string Mask(size_t size, size_t prefix) {
  std::string mask(size, '\0');
  for (size_t bit = 0; bit < prefix; ++bit) {
    mask[bit / 8] = static_cast<char>(mask[bit / 8] | 0x80 >> bit % 8);
  }
  return mask;
}

Result<Inner> Parse(const NetNsConfig& config) {
  Inner inner;
  inner.tap = InterfaceName(config.tap_name);
  CR_TRY_ASSIGN(inner.guest_mac, net::MacBytes(config.guest_mac));
  CR_TRY_ASSIGN(inner.gateway_mac, net::MacBytes(config.gateway_mac));
  CR_TRY_ASSIGN(inner.guest4, net::AddressBytes(config.guest_ipv4));
  CR_TRY_ASSIGN(inner.gateway4, net::AddressBytes(config.gateway_ipv4));
  CR_TRY_ASSIGN(inner.guest6, net::AddressBytes(config.guest_ipv6));
  CR_TRY_ASSIGN(inner.gateway6, net::AddressBytes(config.gateway_ipv6));
  return inner;
}

NfRule OfEtherType(uint16_t type) { return NfRule().Meta(NFT_META_PROTOCOL).Is(Word(type)); }

NfRule Ethernet(uint32_t offset, uint32_t size) {
  return NfRule()
      .Meta(NFT_META_IIFTYPE)
      .Is(HostOrder(uint16_t{ARPHRD_ETHER}))
      .Payload(NFT_PAYLOAD_LL_HEADER, offset, size);
}

NfRule Ipv4(uint32_t offset, uint32_t size) {
  return OfEtherType(ETH_P_IP).Payload(NFT_PAYLOAD_NETWORK_HEADER, offset, size);
}

NfRule Ipv6(uint32_t offset, uint32_t size) {
  return OfEtherType(ETH_P_IPV6).Payload(NFT_PAYLOAD_NETWORK_HEADER, offset, size);
}

NfRule Drop(NfRule when, std::string_view why) { return when.Count().Drop().Comment(why); }

// An address block for the rules about destinations that are no single host's.
struct Block {
  const char* address;
  size_t prefix;
};

void DropBlocks(NfTables& tables, std::string_view chain, const NfRule& destination,
                std::initializer_list<Block> blocks) {
  for (const Block& block : blocks) {
    const std::string address = *net::AddressBytes(block.address);
    NfRule rule = destination;
    tables.AddRule(
        chain, Drop(rule.And(Mask(address.size(), block.prefix)).Is(address), "no host's address"));
  }
}

void AddFromArp(NfTables& tables, const Inner& inner) {
  // Ethernet, IPv4, their address sizes, a request.
  const std::string question = Word(ARPHRD_ETHER) + Word(ETH_P_IP) + Byte(6) + Byte(4) + Word(1);
  tables.AddChain("from_arp");
  tables.AddRule("from_arp", OfEtherType(ETH_P_ARP)
                                 .Payload(NFT_PAYLOAD_NETWORK_HEADER, 0, 8)
                                 .Is(question)
                                 .Payload(NFT_PAYLOAD_NETWORK_HEADER, kArpSender, 10)
                                 .Is(inner.guest_mac + inner.guest4)
                                 .Payload(NFT_PAYLOAD_NETWORK_HEADER, kArpTarget, 4)
                                 .Is(inner.gateway4)
                                 .Count()
                                 .Accept()
                                 .Comment("asks for the gateway"));
}

void AddFromIpv4(NfTables& tables, const Inner& inner) {
  tables.AddChain("from_ipv4");
  auto drop = [&](const NfRule& when, std::string_view why) {
    tables.AddRule("from_ipv4", Drop(when, why));
  };
  drop(Ipv4(kIpv4Source, 4).IsNot(inner.guest4), "spoofed");
  drop(Ipv4(0, 1).And(Byte(0x0f)).IsNot(Byte(5)), "options");
  drop(Ipv4(kIpv4Fragment, 2).And(Word(0x3fff)).IsNot(Word(0)), "fragment");
  drop(Ethernet(0, ETH_ALEN).IsNot(inner.gateway_mac), "to another station");
  DropBlocks(tables, "from_ipv4", Ipv4(kIpv4Destination, 4),
             {{"0.0.0.0", 8}, {"127.0.0.0", 8}, {"224.0.0.0", 3}});
  tables.AddRule("from_ipv4", NfRule().Accept());
}

void AddFromIpv6(NfTables& tables, const Inner& inner) {
  tables.AddChain("from_ipv6");
  // IPv6 headers that are no transport (IANA "IPv6 Extension Header Types"): hop-by-hop, routing,
  // fragment, authentication, destination options, mobility, HIP, shim6, and two for experiments.
  const NfSet extension_headers =
      tables.AddSet(kProtocolType, {Byte(0), Byte(43), Byte(44), Byte(51), Byte(60), Byte(135),
                                    Byte(139), Byte(140), Byte(253), Byte(254)});
  auto drop = [&](const NfRule& when, std::string_view why) {
    tables.AddRule("from_ipv6", Drop(when, why));
  };
  drop(Ipv6(kIpv6Source, 16).IsNot(inner.guest6), "spoofed");
  drop(Ipv6(kIpv6NextHeader, 1).IsIn(extension_headers), "extension headers");
  tables.AddRule("from_ipv6", OfEtherType(ETH_P_IPV6)
                                  .Meta(NFT_META_L4PROTO)
                                  .Is(Byte(IPPROTO_ICMPV6))
                                  .Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1)
                                  .Is(Byte(ND_NEIGHBOR_SOLICIT))
                                  .Payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv6HopLimit, 1)
                                  .Is(Byte(255))
                                  .Payload(NFT_PAYLOAD_TRANSPORT_HEADER, kSolicitedAddress, 16)
                                  .Is(inner.gateway6)
                                  .Count()
                                  .Accept()
                                  .Comment("asks for the gateway"));
  drop(Ethernet(0, ETH_ALEN).IsNot(inner.gateway_mac), "to another station");
  DropBlocks(tables, "from_ipv6", Ipv6(kIpv6Destination, 16),
             {{"::", 96}, {"::ffff:0.0.0.0", 96}, {"ff00::", 8}});
  tables.AddRule("from_ipv6", NfRule().Accept());
}

// Every frame that leaves the TAP.
void AddFrames(NfTables& tables, const Inner& inner, const NetNsConfig& config, Families families) {
  tables.AddTable(NFPROTO_NETDEV, "cleanroom");
  AddFromArp(tables, inner);
  AddFromIpv4(tables, inner);
  if (families == Families::kIpv4AndIpv6) AddFromIpv6(tables, inner);

  tables.AddBaseChain(
      "frames",
      {.number = NF_NETDEV_INGRESS, .priority = kPriorityFilter, .device = config.tap_name});
  const NfSet tags = tables.AddSet(kEtherTypeType, {Word(ETH_P_8021Q), Word(ETH_P_8021AD)});
  tables.AddRule("frames",
                 Drop(Ethernet(ETH_ALEN, ETH_ALEN).IsNot(inner.guest_mac), "another sender"));
  tables.AddRule("frames", Drop(Ethernet(2 * ETH_ALEN, 2).IsIn(tags), "tagged"));
  tables.AddRule("frames", OfEtherType(ETH_P_IP).Jump("from_ipv4"));
  tables.AddRule("frames", OfEtherType(ETH_P_ARP).Jump("from_arp"));
  if (families == Families::kIpv4AndIpv6) {
    tables.AddRule("frames", OfEtherType(ETH_P_IPV6).Jump("from_ipv6"));
  }
  tables.AddRule("frames", Drop(NfRule(), "anything else"));
}

NfRule OfFamily(uint8_t family, uint8_t protocol) {
  return NfRule().Meta(NFT_META_NFPROTO).Is(Byte(family)).Meta(NFT_META_L4PROTO).Is(Byte(protocol));
}

NfRule NeighbourSolicitation() {
  return OfFamily(NFPROTO_IPV6, IPPROTO_ICMPV6)
      .Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1)
      .Is(Byte(ND_NEIGHBOR_SOLICIT))
      .Accept();
}

void AddDoors(NfTables& tables, uint8_t family, const std::string& loopback) {
  auto door = [&](NfRule when, uint16_t port, std::string_view name) {
    tables.AddRule("prerouting",
                   when.Tproxy(loopback, port).SetMark(kDoorMark).Count().Accept().Comment(name));
  };
  door(OfFamily(family, IPPROTO_UDP)
           .Payload(NFT_PAYLOAD_TRANSPORT_HEADER, kDestinationPort, 2)
           .Is(Word(kDnsPort)),
       kDnsPort, "DNS door");
  door(OfFamily(family, IPPROTO_UDP), kUdpDoorPort, "UDP door");
  door(OfFamily(family, IPPROTO_TCP), kTcpDoorPort, "TCP door");
}

// What of it goes where.
void AddPackets(NfTables& tables, const Inner& inner, Families families) {
  const NfRule from_loopback = NfRule().Meta(NFT_META_IIFNAME).Is(InterfaceName("lo")).Accept();
  tables.AddTable(NFPROTO_INET, "cleanroom");
  tables.AddBaseChain("prerouting", {.number = NF_INET_PRE_ROUTING, .priority = kPriorityMangle});
  tables.AddRule("prerouting", from_loopback);
  tables.AddRule("prerouting",
                 Drop(NfRule().Meta(NFT_META_IIFNAME).IsNot(inner.tap), "no other interface"));
  tables.AddRule("prerouting", NeighbourSolicitation());
  AddDoors(tables, NFPROTO_IPV4, *net::AddressBytes("127.0.0.1"));
  if (families == Families::kIpv4AndIpv6) AddDoors(tables, NFPROTO_IPV6, *net::AddressBytes("::1"));
  tables.AddRule("prerouting",
                 NfRule().Meta(NFT_META_L4PROTO).Is(Byte(IPPROTO_TCP)).Count().RejectWithReset());
  tables.AddRule("prerouting", NfRule().Count().RejectAsProhibited());

  tables.AddBaseChain("input", {.number = NF_INET_LOCAL_IN, .priority = kPriorityFilter});
  const NfSet transports = tables.AddSet(kProtocolType, {Byte(IPPROTO_TCP), Byte(IPPROTO_UDP)});
  tables.AddRule("input", from_loopback);
  tables.AddRule("input", NfRule()
                              .Meta(NFT_META_MARK)
                              .Is(HostOrder(kDoorMark))
                              .Meta(NFT_META_L4PROTO)
                              .IsIn(transports)
                              .Accept());
  tables.AddRule("input", NeighbourSolicitation());
  tables.AddBaseChain("forward", {.number = NF_INET_FORWARD, .priority = kPriorityFilter});
}

}  // namespace

Result<void> LoadRules(const NetNsConfig& config, Families families) {
  CR_TRY_ASSIGN(const Inner inner, Parse(config));
  NfTables tables;
  AddFrames(tables, inner, config, families);
  AddPackets(tables, inner, families);
  return tables.Commit();
}

}  // namespace cleanroom::os
