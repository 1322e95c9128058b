#include "os/netns/netns.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "os/file.h"
#include "os/netns/netlink.h"

namespace cleanroom::os {
namespace {

constexpr char kTun[] = "/dev/net/tun";

Result<void> WriteProc(const std::string& path, std::string_view text) {
  CR_TRY_ASSIGN(const UniqueFd fd, Open(path, O_WRONLY));
  return WriteAll(fd.get(), text, path);
}

std::unexpected<Error> NotAllowed(std::string_view what, std::string_view remedy) {
  const int saved = errno;
  Error error = Error::FromErrno(ErrorCode::kFailedPrecondition, saved, what);
  return Err(Error(error.code(), fmt::format("{}; {}", error.message(), remedy)));
}

Result<void> EnterNamespaces() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    if (errno == EINVAL) {
      return Err(ErrorCode::kInternal, "a process with several threads cannot enter a namespace");
    }
    return NotAllowed(
        "make a user and network namespace",
        "allow them: sysctl user.max_user_namespaces must not be 0, "
        "kernel.unprivileged_userns_clone (where it exists) must be 1, and a container "
        "needs a seccomp profile that permits unshare");
  }
  // An ordinary user may map only itself, and only after giving up setgroups.
  CR_TRY(WriteProc("/proc/self/setgroups", "deny"));
  CR_TRY(WriteProc("/proc/self/uid_map", fmt::format("{} {} 1", uid, uid)));
  CR_TRY(WriteProc("/proc/self/gid_map", fmt::format("{} {} 1", gid, gid)));
  return {};
}

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

// Must run inside the namespace: a TAP belongs to the one its descriptor was opened in.
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
  return fd;
}

struct FreeNft {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

Result<void> LoadRules(const std::string& rules) {
  const std::unique_ptr<nft_ctx, FreeNft> nft(nft_ctx_new(NFT_CTX_DEFAULT));
  if (nft == nullptr) return Err(ErrorCode::kInternal, "nftables: cannot make a context");
  nft_ctx_buffer_error(nft.get());
  nft_ctx_buffer_output(nft.get());
  if (nft_run_cmd_from_buffer(nft.get(), rules.c_str()) != 0) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("load the network floor: {}; the kernel needs nf_tables with inet and "
                           "reject support",
                           nft_ctx_get_error_buffer(nft.get())));
  }
  return {};
}

}  // namespace

Result<void> CheckTun() {
  CR_TRY_ASSIGN(const UniqueFd fd, OpenTun());
  return {};
}

std::string FloorRules(const NetNsConfig& config) {
  return fmt::format(R"(table inet cleanroom {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy drop;
    iifname "lo" accept
    iifname != "{tap}" counter drop comment "no other interface"
    meta nfproto ipv4 ip saddr != {ipv4} counter drop comment "spoofed"
    meta nfproto ipv6 ip6 saddr != {ipv6} counter drop comment "spoofed"
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
    meta pkttype {{ broadcast, multicast }} counter drop
    ip daddr {{ 224.0.0.0/4, 255.255.255.255 }} counter drop
    ip6 daddr ff00::/8 counter drop
    meta l4proto tcp counter reject with tcp reset
    counter reject with icmpx admin-prohibited
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
  }}
}}
)",
                     fmt::arg("tap", config.tap_name), fmt::arg("ipv4", config.guest_ipv4),
                     fmt::arg("ipv6", config.guest_ipv6));
}

Result<NetNs> NetNs::Create(const NetNsConfig& config) {
  CR_TRY(EnterNamespaces());
  CR_TRY(LoadRules(FloorRules(config)));
  CR_TRY_ASSIGN(UniqueFd tap, MakeTap(config.tap_name));
  const bool has_ipv6 = access("/proc/self/net/if_inet6", F_OK) == 0;
  // The kernel limits ICMP errors, per peer and in all, unless no type is subject to it; a refusal
  // is to be immediate each time. The floor itself does not depend on it, should /proc/sys be
  // read-only.
  (void)WriteProc("/proc/sys/net/ipv4/icmp_ratemask", "0");
  if (has_ipv6) {
    (void)WriteProc("/proc/sys/net/ipv6/icmp/ratemask", "\n");
    // No link-local address on the TAP.
    (void)WriteProc(fmt::format("/proc/sys/net/ipv6/conf/{}/addr_gen_mode", config.tap_name), "1");
  }
  CR_TRY_ASSIGN(Netlink netlink, Netlink::Open());
  CR_TRY_ASSIGN(const unsigned loopback, Netlink::IndexOf("lo"));
  CR_TRY_ASSIGN(const unsigned index, Netlink::IndexOf(config.tap_name));
  CR_TRY(netlink.SetUp(loopback));
  CR_TRY(netlink.SetUp(index, config.gateway_mac));
  CR_TRY(netlink.AddAddress(index, config.gateway_ipv4, config.ipv4_prefix));
  CR_TRY(netlink.AddNeighbour(index, config.guest_ipv4, config.guest_mac));
  if (has_ipv6) {
    CR_TRY(netlink.AddAddress(index, config.gateway_ipv6, config.ipv6_prefix));
    CR_TRY(netlink.AddNeighbour(index, config.guest_ipv6, config.guest_mac));
  }
  return NetNs(std::move(tap), has_ipv6);
}

}  // namespace cleanroom::os
