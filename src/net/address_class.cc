#include "net/address_class.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace cleanroom::net {
namespace {

struct Block {
  Cidr cidr;
  AddressClass is;
};

std::vector<Block> MakeBlocks() {
  struct Entry {
    std::string_view cidr;
    AddressClass is;
  };
  constexpr Entry kEntries[] = {
      {"0.0.0.0/8", AddressClass::kNever},
      {"10.0.0.0/8", AddressClass::kPrivate},
      {"100.64.0.0/10", AddressClass::kPrivate},  // shared, RFC 6598
      {"127.0.0.0/8", AddressClass::kLoopback},
      {"169.254.0.0/16", AddressClass::kPrivate},
      {"172.16.0.0/12", AddressClass::kPrivate},
      {"192.0.0.0/24", AddressClass::kPrivate},
      {"192.0.2.0/24", AddressClass::kPrivate},
      {"192.88.99.0/24", AddressClass::kPrivate},  // 6to4 relays, RFC 7526
      {"192.168.0.0/16", AddressClass::kPrivate},
      {"198.18.0.0/15", AddressClass::kPrivate},
      {"198.51.100.0/24", AddressClass::kPrivate},
      {"203.0.113.0/24", AddressClass::kPrivate},
      {"224.0.0.0/4", AddressClass::kNever},
      {"255.255.255.255/32", AddressClass::kNever},
      {"240.0.0.0/4", AddressClass::kPrivate},
      {"::/128", AddressClass::kNever},
      {"::1/128", AddressClass::kLoopback},
      {"::/96", AddressClass::kNever},             // IPv4-compatible, RFC 4291 2.5.5.1
      {"64:ff9b:1::/48", AddressClass::kPrivate},  // local NAT64, RFC 8215
      {"100::/64", AddressClass::kPrivate},        // discard, RFC 6666
      {"2001::/23", AddressClass::kPrivate},       // protocol assignments, with Teredo
      {"2001:db8::/32", AddressClass::kPrivate},
      {"3fff::/20", AddressClass::kPrivate},  // documentation, RFC 9637
      {"5f00::/16", AddressClass::kPrivate},  // segment routing, RFC 9602
      {"fc00::/7", AddressClass::kPrivate},
      {"fe80::/10", AddressClass::kPrivate},
      {"fec0::/10", AddressClass::kPrivate},
      {"ff00::/8", AddressClass::kNever},
  };
  std::vector<Block> blocks;
  for (const Entry& entry : kEntries) blocks.push_back({*Cidr::Parse(entry.cidr), entry.is});
  return blocks;
}

IpAddress EmbeddedV4(const IpAddress& address, size_t offset) {
  std::array<uint8_t, 4> bytes;
  std::copy_n(address.bytes().begin() + static_cast<std::ptrdiff_t>(offset), 4, bytes.begin());
  return IpAddress::V4(bytes);
}

}  // namespace

AddressClass Classify(const IpAddress& address) {
  static const std::vector<Block> blocks = MakeBlocks();
  static const Cidr nat64 = *Cidr::Parse("64:ff9b::/96");  // RFC 6052
  static const Cidr six_to_four = *Cidr::Parse("2002::/16");
  if (nat64.Contains(address)) return Classify(EmbeddedV4(address, 12));
  if (six_to_four.Contains(address)) return Classify(EmbeddedV4(address, 2));
  for (const Block& block : blocks) {
    if (block.cidr.Contains(address)) return block.is;
  }
  // What is not in 2000::/3 has not been given to anybody.
  static const Cidr global = *Cidr::Parse("2000::/3");
  if (address.family() == IpAddress::Family::kV6 && !global.Contains(address) &&
      !nat64.Contains(address)) {
    return AddressClass::kPrivate;
  }
  return AddressClass::kPublic;
}

}  // namespace cleanroom::net
