// NfTables: nf_tables tables, chains, sets and rules as one batch of netlink messages, which the
// kernel takes whole or not at all. It knows the expressions that a sandbox's rules need
// (rules.h), and is there because libnftables costs each sandbox's start more than all the rest of
// its network: the loader, a parser, and five dumps of what is there already.
//
// The names and numbers are those of linux/netfilter/nf_tables.h; the layout of the messages is
// what `nft --debug=netlink` shows. Numbers in packets are in network byte order, and so are
// values here unless they say "host order".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::os {

// Netlink attributes (type, length, value), one after the other, each padded to four bytes.
class NetlinkAttributes {
 public:
  void Add(uint16_t type, std::string_view value);
  void AddText(uint16_t type, std::string_view text);  // with its terminating NUL
  void AddNumber(uint16_t type, uint32_t host_order);  // sent in network byte order
  void AddNested(uint16_t type, const NetlinkAttributes& inner);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// A constant set without a name: it lives with the rule that looks it up.
struct NfSet {
  uint32_t id = 0;
};

// One rule: comparisons, each of which must hold for the rule to go on, and then what it does. A
// comparison is a load (`Meta`, `Payload`), perhaps `And`, and `Is`, `IsNot` or `IsIn`.
class NfRule {
 public:
  NfRule& Meta(uint32_t key);  // NFT_META_*
  // `size` (at most 16) bytes of a header: NFT_PAYLOAD_LL_HEADER, _NETWORK_ or _TRANSPORT_.
  NfRule& Payload(uint32_t header, uint32_t offset, uint32_t size);
  NfRule& And(std::string_view mask);
  NfRule& Is(std::string_view value);
  NfRule& IsNot(std::string_view value);
  NfRule& IsIn(NfSet set);

  NfRule& SetMark(uint32_t host_order);
  // Gives the packet to the transparent socket at this address (4 or 16 bytes) and port.
  NfRule& Tproxy(std::string_view address, uint16_t port_host_order);
  NfRule& Count();
  NfRule& Accept();
  NfRule& Drop();
  NfRule& Jump(std::string_view chain);
  NfRule& RejectWithReset();
  NfRule& RejectAsProhibited();  // ICMP or ICMPv6: administratively prohibited
  NfRule& Comment(std::string_view text);

 private:
  friend class NfTables;
  void Expression(std::string_view name, const NetlinkAttributes& data);
  void Compare(uint32_t operation, std::string_view value);
  void Immediate(uint32_t to_register, std::string_view value);
  void Verdict(uint32_t code, std::string_view chain = {});
  void Reject(uint32_t type, uint8_t code);

  NetlinkAttributes expressions_;
  std::string comment_;
};

// Where a base chain hangs, with the policy "drop".
struct NfHook {
  uint32_t number = 0;      // NF_NETDEV_INGRESS, NF_INET_PRE_ROUTING, …
  int32_t priority = 0;     // lower is earlier
  std::string device = {};  // of a netdev chain
};

class NfTables {
 public:
  NfTables();

  // `family` is NFPROTO_NETDEV or NFPROTO_INET. What follows belongs to this table.
  void AddTable(uint8_t family, std::string_view name);
  void AddChain(std::string_view name);
  void AddBaseChain(std::string_view name, const NfHook& hook);
  // Elements are of one size. `type` is nft's number for it, which only listings need.
  NfSet AddSet(uint32_t type, std::initializer_list<std::string_view> elements);
  // At the end of the chain, which was added before.
  void AddRule(std::string_view chain, const NfRule& rule);

  // Loads what was added into the network namespace this thread is in now. failed_precondition
  // when the kernel lacks what it needs.
  Result<void> Commit();

 private:
  void Append(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource,
              const NetlinkAttributes& body);
  void AppendChange(uint16_t type, uint16_t flags, const NetlinkAttributes& body);

  std::string messages_;
  size_t last_ = 0;  // where the last message begins
  uint8_t family_ = 0;
  std::string table_;
  uint32_t sets_ = 0;
  uint32_t sequence_ = 0;
};

}  // namespace cleanroom::os
