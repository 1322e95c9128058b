#include "os/netns/netns.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <vector>

#include "os/file.h"
#include "os/jail/identity.h"
#include "os/netlink/netlink.h"
#include "os/netns/rules.h"
#include "os/netns/tap.h"
#include "os/socket.h"

namespace cleanroom::os {
namespace {

constexpr uint32_t kDoorTable = 100;

Result<void> WriteProc(const std::string& path, std::string_view text) {
  CR_TRY_ASSIGN(const UniqueFd fd, Open(path, O_WRONLY));
  return WriteAll(fd.get(), text, path);
}

// Settings of the namespace that only add to the rules, so that a read-only /proc/sys does no harm.
// New interfaces take over what stands in `default`.
void SetSysctls(Families families) {
  struct Setting {
    const char* path;
    const char* value;
  };
  static constexpr Setting kCommon[] = {
      {"core/somaxconn", "1024"},
      {"ipv4/tcp_max_syn_backlog", "1024"},
      {"ipv4/tcp_max_tw_buckets", "4096"},
      // The kernel limits ICMP errors, per peer and in all, unless no type is subject to it; a
      // refusal is to be immediate each time.
      {"ipv4/icmp_ratemask", "0"},
  };
  static constexpr Setting kIpv4[] = {
      {"forwarding", "0"},     {"rp_filter", "0"},        {"accept_redirects", "0"},
      {"send_redirects", "0"}, {"secure_redirects", "0"}, {"accept_source_route", "0"},
      {"proxy_arp", "0"},      {"route_localnet", "0"},   {"accept_local", "0"},
      {"arp_ignore", "1"},  // answers only for the interface's own address
      {"arp_filter", "1"},     {"arp_accept", "0"},
  };
  static constexpr Setting kIpv6[] = {
      {"forwarding", "0"},       {"accept_ra", "0"},           {"autoconf", "0"},
      {"accept_redirects", "0"}, {"accept_source_route", "0"}, {"proxy_ndp", "0"},
      {"accept_dad", "0"},       {"addr_gen_mode", "1"},  // no link-local address
  };
  auto set = [](const std::string& path, const char* value) {
    (void)WriteProc("/proc/sys/net/" + path, value);
  };
  for (const Setting& setting : kCommon) set(setting.path, setting.value);
  for (const char* scope : {"all", "default"}) {
    for (const Setting& setting : kIpv4) {
      set(fmt::format("ipv4/conf/{}/{}", scope, setting.path), setting.value);
    }
    if (families == Families::kIpv4) continue;
    for (const Setting& setting : kIpv6) {
      set(fmt::format("ipv6/conf/{}/{}", scope, setting.path), setting.value);
    }
  }
  if (families == Families::kIpv4AndIpv6) set("ipv6/icmp/ratemask", "\n");
}

Result<void> ConfigureLinks(const NetNsConfig& config, Families families) {
  CR_TRY_ASSIGN(Netlink netlink, Netlink::Open());
  CR_TRY_ASSIGN(const unsigned loopback, Netlink::IndexOf("lo"));
  CR_TRY_ASSIGN(const unsigned tap, Netlink::IndexOf(config.tap_name));
  CR_TRY(netlink.SetUp(loopback));
  CR_TRY(netlink.DeliverMarked(AF_INET, kDoorMark, kDoorTable, loopback));
  if (families == Families::kIpv4AndIpv6) {
    CR_TRY(netlink.DeliverMarked(AF_INET6, kDoorMark, kDoorTable, loopback));
  }
  CR_TRY(netlink.SetUp(tap, config.gateway_mac));
  // The guest's neighbour entries are permanent: nothing it sends changes them.
  CR_TRY(netlink.AddAddress(tap, config.gateway_ipv4, config.ipv4_prefix));
  CR_TRY(netlink.AddNeighbour(tap, config.guest_ipv4, config.guest_mac));
  if (families == Families::kIpv4AndIpv6) {
    CR_TRY(netlink.AddAddress(tap, config.gateway_ipv6, config.ipv6_prefix));
    CR_TRY(netlink.AddNeighbour(tap, config.guest_ipv6, config.guest_mac));
  }
  return {};
}

// In the child: makes everything in a network namespace that this process alone enters.
Result<NetNs> Furnish(const NetNsConfig& config, pid_t parent) {
  CR_TRY(EnterUserNamespace());
  // The change of namespaces clears it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  if (unshare(CLONE_NEWNET) != 0) {
    return NotAllowed("make a network namespace",
                      "sysctl user.max_net_namespaces must not be 0, and a container or an "
                      "AppArmor profile must permit it");
  }
  NetNs out;
  out.has_ipv6 = access("/proc/self/net/if_inet6", F_OK) == 0;
  const Families families = out.has_ipv6 ? Families::kIpv4AndIpv6 : Families::kIpv4;
  SetSysctls(families);
  CR_TRY_ASSIGN(out.tap, MakeTap(config.tap_name));
  CR_TRY(LoadRules(config, families));
  CR_TRY(ConfigureLinks(config, families));
  CR_TRY_ASSIGN(out.doors, MakeDoorSockets(families));
  return out;
}

// What the child hands over, in this order; without IPv6 the second half is missing.
std::vector<UniqueFd*> Descriptors(NetNs& net) {
  DoorSockets& doors = net.doors;
  std::vector<UniqueFd*> all = {&net.tap, &doors.tcp4, &doors.dns4, &doors.udp4, &doors.raw4};
  if (net.has_ipv6) all.insert(all.end(), {&doors.tcp6, &doors.dns6, &doors.udp6, &doors.raw6});
  return all;
}

constexpr std::string_view kOk = "ok";

[[noreturn]] void RunChild(const NetNsConfig& config, pid_t parent, UniqueFd parent_socket) {
  auto made = Furnish(config, parent);
  std::vector<int> fds;
  std::string text(kOk);
  if (made) {
    for (const UniqueFd* fd : Descriptors(*made)) fds.push_back(fd->get());
  } else {
    const Error& error = made.error();
    text = fmt::format("{}\n{}\n{}", ToString(error.code()), error.remedy(), error.message());
  }
  const bool sent = SendHandover(parent_socket.get(), fds, text).has_value();
  parent_socket.reset();  // at once: the kernel takes its time to end a process
  _exit(sent ? 0 : 1);
}

// Takes a line, without its end, off the front.
std::string_view TakeLine(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

Result<NetNs> Receive(int socket) {
  CR_TRY_ASSIGN(Handover handover, ReceiveHandover(socket));
  if (handover.text != kOk) {
    std::string_view rest = handover.text;
    const std::string_view code = TakeLine(rest);
    const std::string_view remedy = TakeLine(rest);
    return Err(Error(ErrorCodeFromString(code), std::string(rest)).Remedy(std::string(remedy)));
  }
  NetNs net;
  net.has_ipv6 = handover.fds.size() > Descriptors(net).size();
  const std::vector<UniqueFd*> places = Descriptors(net);
  if (places.size() != handover.fds.size()) {
    return Err(ErrorCode::kInternal, "the set-up of the network handed too few descriptors over");
  }
  for (size_t i = 0; i < places.size(); ++i) *places[i] = std::move(handover.fds[i]);
  return net;
}

}  // namespace

Result<NetNs> NetNs::Create(const NetNsConfig& config) {
  CR_TRY_ASSIGN(auto set_up, NetNsSetUp::Begin(config));
  return set_up.Finish();
}

Result<NetNsSetUp> NetNsSetUp::Begin(const NetNsConfig& config) {
  CR_TRY_ASSIGN(auto pair, SocketPair());
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    return ErrErrno(ErrorCode::kResourceExhausted, "start the set-up of the network");
  }
  if (child == 0) {
    pair.first.reset();
    RunChild(config, parent, std::move(pair.second));
  }
  return NetNsSetUp(child, std::move(pair.first));
}

NetNsSetUp::NetNsSetUp(NetNsSetUp&& other) noexcept
    : child_(std::exchange(other.child_, -1)), socket_(std::move(other.socket_)) {}

NetNsSetUp::~NetNsSetUp() {
  if (child_ < 0) return;
  kill(child_, SIGKILL);
  (void)Reap();
}

int NetNsSetUp::Reap() {
  int status = 0;
  while (waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  return status;
}

Result<NetNs> NetNsSetUp::Finish() {
  auto made = Receive(socket_.get());
  const int status = Reap();
  if (!made && made.error().code() == ErrorCode::kUnavailable) {
    return Err(ErrorCode::kInternal,
               fmt::format("the set-up of the network ended with status {}", status));
  }
  return made;
}

}  // namespace cleanroom::os
