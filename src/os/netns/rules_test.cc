#include "os/netns/rules.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "os/file.h"
#include "os/netns/nf_tables.h"
#include "os/netns/tap.h"
#include "os/process.h"
#include "os/socket.h"

namespace cleanroom::os {
namespace {

// Moves this process into a user namespace of its own as its root, which nft asks for, and into a
// network namespace.
bool EnterNamespaces() {
  const std::string uid_map = fmt::format("0 {} 1", geteuid());
  const std::string gid_map = fmt::format("0 {} 1", getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  for (const auto& [path, text] : {std::pair<std::string, std::string>{"setgroups", "deny"},
                                   {"uid_map", uid_map},
                                   {"gid_map", gid_map}}) {
    auto file = Open("/proc/self/" + path, O_WRONLY);
    if (!file || !WriteAll(file->get(), text, path)) return false;
  }
  return true;
}

std::string ListRules() {
  auto listed = Run({"nft", "--stateless", "list", "ruleset"});
  return listed ? listed->out + listed->err : listed.error().ToString();
}

// What `body` returns, run by a child of this process.
std::string InChild(const std::function<std::string()>& body) {
  auto pair = SocketPair();
  const pid_t pid = fork();
  if (pid == 0) {
    pair->first.reset();
    (void)WriteAll(pair->second.get(), body(), "pipe");
    _exit(0);
  }
  pair->second.reset();
  std::string text = ReadAll(pair->first.get(), 1 << 20, "pipe").value_or("no answer");
  int status = 0;
  waitpid(pid, &status, 0);
  return text;
}

// The rules as nft lists them once they are loaded.
std::string Listed(Families families) {
  return InChild([families]() -> std::string {
    if (!EnterNamespaces()) return "no namespaces";
    const NetNsConfig config;
    auto tap = MakeTap(config.tap_name);
    if (!tap) return tap.error().ToString();
    if (auto loaded = LoadRules(config, families); !loaded) return loaded.error().ToString();
    return ListRules();
  });
}

constexpr std::string_view kRules = R"(table netdev cleanroom {
  chain from_arp {
    arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ether 02:00:00:00:00:02 arp saddr ip 10.0.2.2 arp daddr ip 10.0.2.1 counter accept comment "asks for the gateway"
  }

  chain from_ipv4 {
    ip saddr != 10.0.2.2 counter drop comment "spoofed"
    ip hdrlength != 5 counter drop comment "options"
    ip frag-off & 16383 != 0 counter drop comment "fragment"
    ether daddr != 02:00:00:00:00:01 counter drop comment "to another station"
    ip daddr 0.0.0.0/8 counter drop comment "no host's address"
    ip daddr 127.0.0.0/8 counter drop comment "no host's address"
    ip daddr 224.0.0.0/3 counter drop comment "no host's address"
    accept
  }

  chain from_ipv6 {
    ip6 saddr != fd00:c1ea:0:2::2 counter drop comment "spoofed"
    ip6 nexthdr { ip, ipv6-route, ipv6-frag, ah, ipv6-opts, mobility-header, hip, shim6, 253, 254 } counter drop comment "extension headers"
    icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 @th,64,128 0xfd00c1ea000000020000000000000001 counter accept comment "asks for the gateway"
    ether daddr != 02:00:00:00:00:01 counter drop comment "to another station"
    ip6 daddr ::/96 counter drop comment "no host's address"
    ip6 daddr ::ffff:0.0.0.0/96 counter drop comment "no host's address"
    ip6 daddr ff00::/8 counter drop comment "no host's address"
    accept
  }

  chain frames {
    type filter hook ingress device "tap0" priority filter; policy drop;
    ether saddr != 02:00:00:00:00:02 counter drop comment "another sender"
    ether type { 8021q, 8021ad } counter drop comment "tagged"
    meta protocol ip jump from_ipv4
    meta protocol arp jump from_arp
    meta protocol ip6 jump from_ipv6
    counter drop comment "anything else"
  }
}
table inet cleanroom {
  chain prerouting {
    type filter hook prerouting priority mangle; policy drop;
    iifname "lo" accept
    iifname != "tap0" counter drop comment "no other interface"
    icmpv6 type nd-neighbor-solicit accept
    meta nfproto ipv4 udp dport 53 tproxy ip to 127.0.0.1:53 meta mark set 0x00000001 counter accept comment "DNS door"
    meta nfproto ipv4 meta l4proto udp tproxy ip to 127.0.0.1:1002 meta mark set 0x00000001 counter accept comment "UDP door"
    meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:1001 meta mark set 0x00000001 counter accept comment "TCP door"
    meta nfproto ipv6 udp dport 53 tproxy ip6 to [::1]:53 meta mark set 0x00000001 counter accept comment "DNS door"
    meta nfproto ipv6 meta l4proto udp tproxy ip6 to [::1]:1002 meta mark set 0x00000001 counter accept comment "UDP door"
    meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:1001 meta mark set 0x00000001 counter accept comment "TCP door"
    meta l4proto tcp counter reject with tcp reset
    counter reject with icmpx admin-prohibited
  }

  chain input {
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    meta mark 0x00000001 meta l4proto { tcp, udp } accept
    icmpv6 type nd-neighbor-solicit accept
  }

  chain forward {
    type filter hook forward priority filter; policy drop;
  }
}
)";

// Tabs are two spaces in here.
std::string Spaced(std::string text) {
  for (size_t at = text.find('\t'); at != std::string::npos; at = text.find('\t', at)) {
    text.replace(at, 1, "  ");
  }
  return text;
}

TEST(DoorRulesTest, AreWhatNftLists) { EXPECT_EQ(Spaced(Listed(Families::kIpv4AndIpv6)), kRules); }

TEST(DoorRulesTest, WithoutIpv6ThereIsNoWayForIt) {
  std::string expected(kRules);
  for (const std::string_view gone :
       {"  chain from_ipv6", "    meta protocol ip6 jump", "    meta nfproto ipv6 udp",
        "    meta nfproto ipv6 meta l4proto udp", "    meta nfproto ipv6 meta l4proto tcp"}) {
    const size_t begin = expected.find(gone);
    ASSERT_NE(begin, std::string::npos) << gone;
    const std::string_view end = gone.starts_with("  chain") ? "\n\n" : "\n";
    expected.erase(begin, expected.find(end, begin) + end.size() - begin);
  }
  EXPECT_EQ(Spaced(Listed(Families::kIpv4)), expected);
}

TEST(DoorRulesTest, ABatchIsTakenWholeOrNotAtAll) {
  const std::string result = InChild([]() -> std::string {
    if (!EnterNamespaces()) return "no namespaces";
    NfTables tables;
    tables.AddTable(NFPROTO_INET, "first");
    tables.AddRule("missing", NfRule().Accept());
    tables.AddTable(NFPROTO_INET, "last");
    auto loaded = tables.Commit();
    return (loaded ? "loaded" : loaded.error().ToString()) + "\n" + ListRules();
  });
  EXPECT_TRUE(result.starts_with("failed_precondition: load the network rules (message 3)"))
      << result;
  EXPECT_TRUE(result.ends_with("tproxy support\n")) << result;
}

}  // namespace
}  // namespace cleanroom::os
