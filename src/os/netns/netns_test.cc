// A sandbox's network as frames and sockets see it. Longer than others, because every test needs the child with a network
// that stands first.
#include "os/netns/netns.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <utility>

#include "os/file.h"
#include "os/jail/identity.h"
#include "os/netns/testing/frames.h"
#include "os/process.h"
#include "os/socket.h"

namespace cleanroom::os {
namespace {

constexpr char kGuest4[] = "10.0.2.2";
constexpr char kGuest6[] = "fd00:c1ea:0:2::2";
constexpr char kGateway6[] = "fd00:c1ea:0:2::1";

// Runs `body` in a forked child, because a process cannot leave the namespaces again. `body`
// returns what went wrong, or nothing.
std::string InChild(const std::function<std::string()>& body) {
  auto pair = SocketPair();
  const pid_t pid = fork();
  if (pid == 0) {
    pair->first.reset();
    const std::string text = body();
    (void)WriteAll(pair->second.get(), text, "pipe");
    _exit(0);
  }
  pair->second.reset();
  std::string text = ReadAll(pair->first.get(), 1 << 20, "pipe").value_or("no answer");
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) text += fmt::format(" [status {}]", status);
  return text;
}

// The same with a network, after the privileges have been dropped.
std::string WithNetwork(const std::function<std::string(NetNs&)>& body) {
  return InChild([&]() -> std::string {
    auto net = NetNs::Create();
    if (!net) return net.error().ToString();
    if (auto entered = EnterUserNamespace(); !entered) return entered.error().ToString();
    if (auto dropped = DropPrivileges(); !dropped) return dropped.error().ToString();
    return body(*net);
  });
}

void Send(const NetNs& net, const Bytes& frame) {
  if (write(net.tap.get(), frame.data(), frame.size()) != static_cast<ssize_t>(frame.size())) {
    throw std::runtime_error(fmt::format("write to the TAP: {}", strerror(errno)));
  }
}

std::string Text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.ss_family == AF_INET) {
    const auto& at = reinterpret_cast<const sockaddr_in&>(address);
    return fmt::format("{}:{}", inet_ntop(AF_INET, &at.sin_addr, text, sizeof text),
                       ntohs(at.sin_port));
  }
  const auto& at = reinterpret_cast<const sockaddr_in6&>(address);
  return fmt::format("[{}]:{}", inet_ntop(AF_INET6, &at.sin6_addr, text, sizeof text),
                     ntohs(at.sin6_port));
}

bool Readable(int fd, int timeout_ms = 3000) {
  pollfd watched{fd, POLLIN, 0};
  return poll(&watched, 1, timeout_ms) == 1;
}

// Opens a TCP connection by hand; what accept() then tells: "wanted <- guest".
std::string Connect(const NetNs& net, int listener, TestFrame frame) {
  frame.protocol = kTcp;
  Send(net, FrameOf(frame));
  const Seen answer = NextSeen(net.tap.get());
  if (answer.what != "syn-ack" || answer.from != frame.destination) return answer.ToString();
  if (answer.destination_mac != kGuestMac) return "sent to another station";
  ++frame.sequence;
  frame.acknowledged = answer.sequence + 1;
  frame.tcp_flags = 0x10;
  Send(net, FrameOf(frame));
  if (!Readable(listener)) return "nothing to accept";
  sockaddr_storage peer = {};
  socklen_t size = sizeof peer;
  const UniqueFd accepted(
      accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
  if (!accepted) return fmt::format("accept: {}", strerror(errno));
  sockaddr_storage wanted = {};
  size = sizeof wanted;
  getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&wanted), &size);
  return Text(wanted) + " <- " + Text(peer);
}

struct Datagram {
  std::string payload;
  sockaddr_storage wanted = {};
  sockaddr_storage peer = {};
  std::string ToString() const {
    return payload.empty() ? "nothing" : payload + ": " + Text(wanted) + " <- " + Text(peer);
  }
};

Datagram Receive(int fd) {
  Datagram out;
  if (!Readable(fd)) return out;
  std::array<char, 2048> bytes;
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, 256> control = {};
  msghdr message = {};
  message.msg_name = &out.peer;
  message.msg_namelen = sizeof out.peer;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = recvmsg(fd, &message, 0);
  if (n <= 0) return out;
  out.payload.assign(bytes.data(), static_cast<size_t>(n));
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_ORIGDSTADDR) {
      std::memcpy(&out.wanted, CMSG_DATA(c), sizeof(sockaddr_in));
    }
    if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR) {
      std::memcpy(&out.wanted, CMSG_DATA(c), sizeof(sockaddr_in6));
    }
  }
  return out;
}

// Answers from the address that was asked, as a DNS door does.
bool Answer(int fd, const Datagram& question, std::string_view text) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, 128> control = {};
  msghdr message = {};
  message.msg_name = const_cast<sockaddr_storage*>(&question.peer);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (question.peer.ss_family == AF_INET) {
    message.msg_namelen = sizeof(sockaddr_in);
    in_pktinfo info = {};
    info.ipi_spec_dst = reinterpret_cast<const sockaddr_in&>(question.wanted).sin_addr;
    header->cmsg_level = SOL_IP;
    header->cmsg_type = IP_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(header), &info, sizeof info);
    message.msg_controllen = CMSG_SPACE(sizeof info);
  } else {
    message.msg_namelen = sizeof(sockaddr_in6);
    in6_pktinfo info = {};
    info.ipi6_addr = reinterpret_cast<const sockaddr_in6&>(question.wanted).sin6_addr;
    header->cmsg_level = SOL_IPV6;
    header->cmsg_type = IPV6_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(header), &info, sizeof info);
    message.msg_controllen = CMSG_SPACE(sizeof info);
  }
  return sendmsg(fd, &message, 0) == static_cast<ssize_t>(text.size());
}

Bytes Payload(std::string_view text) { return {text.begin(), text.end()}; }

// Every way in and out, in one go; what was seen, a line each.
std::string TryDoors(NetNs& net) {
  std::string out;
  auto line = [&out](const std::string& text) { out += text + "\n"; };
  line(Connect(net, net.doors.tcp4.get(), {.destination = "198.51.100.7", .port = 443}));
  line(Connect(net, net.doors.tcp4.get(), {.destination = "10.0.2.1", .port = 53}));
  line(Connect(net, net.doors.tcp6.get(),
               {.source = kGuest6, .destination = "2001:db8::7", .port = 22}));
  line(Connect(net, net.doors.tcp6.get(), {.source = kGuest6, .destination = kGateway6}));

  Send(net, FrameOf({.destination = "198.51.100.53", .port = 53, .payload = Payload("q4")}));
  const Datagram asked4 = Receive(net.doors.dns4.get());
  line(asked4.ToString());
  if (!Answer(net.doors.dns4.get(), asked4, "a")) line(strerror(errno));
  Seen seen = NextSeen(net.tap.get());
  line(fmt::format("{}:{} {}", seen.from, seen.source_port, seen.ToString()));
  Send(net, FrameOf({.source = kGuest6,
                     .destination = "2001:db8::53",
                     .port = 53,
                     .payload = Payload("q6")}));
  const Datagram asked6 = Receive(net.doors.dns6.get());
  line(asked6.ToString());
  if (!Answer(net.doors.dns6.get(), asked6, "a")) line(strerror(errno));
  seen = NextSeen(net.tap.get());
  line(fmt::format("{}:{} {}", seen.from, seen.source_port, seen.ToString()));

  Send(net, FrameOf({.destination = "203.0.113.9", .port = 1002, .payload = Payload("u4")}));
  line(Receive(net.doors.udp4.get()).ToString());
  Send(net, FrameOf({.source = kGuest6,
                     .destination = "2001:db8::9",
                     .port = 123,
                     .payload = Payload("u6")}));
  line(Receive(net.doors.udp6.get()).ToString());

  const Bytes raw4 = PacketOf({.source = "203.0.113.9",
                               .destination = kGuest4,
                               .source_port = 1002,
                               .port = 40000,
                               .payload = Payload("r")});
  sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
  inet_pton(AF_INET, kGuest4, &to4.sin_addr);
  if (sendto(net.doors.raw4.get(), raw4.data(), raw4.size(), 0, reinterpret_cast<sockaddr*>(&to4),
             sizeof to4) < 0) {
    line(strerror(errno));
  }
  seen = NextSeen(net.tap.get());
  line(fmt::format("{}:{} {}", seen.from, seen.source_port, seen.ToString()));
  const Bytes raw6 = PacketOf({.source = "2001:db8::9",
                               .destination = kGuest6,
                               .source_port = 123,
                               .port = 40000,
                               .payload = Payload("r")});
  sockaddr_in6 to6 = {};
  to6.sin6_family = AF_INET6;
  inet_pton(AF_INET6, kGuest6, &to6.sin6_addr);
  if (sendto(net.doors.raw6.get(), raw6.data(), raw6.size(), 0, reinterpret_cast<sockaddr*>(&to6),
             sizeof to6) < 0) {
    line(strerror(errno));
  }
  seen = NextSeen(net.tap.get());
  line(fmt::format("{}:{} {}", seen.from, seen.source_port, seen.ToString()));
  return out;
}

constexpr char kDoorsWork[] =
    "198.51.100.7:443 <- 10.0.2.2:40000\n"
    "10.0.2.1:53 <- 10.0.2.2:40000\n"
    "[2001:db8::7]:22 <- [fd00:c1ea:0:2::2]:40000\n"
    "[fd00:c1ea:0:2::1]:443 <- [fd00:c1ea:0:2::2]:40000\n"
    "q4: 198.51.100.53:53 <- 10.0.2.2:40000\n"
    "198.51.100.53:53 udp 40000 from 198.51.100.53\n"
    "q6: [2001:db8::53]:53 <- [fd00:c1ea:0:2::2]:40000\n"
    "2001:db8::53:53 udp 40000 from 2001:db8::53\n"
    "u4: 203.0.113.9:1002 <- 10.0.2.2:40000\n"
    "u6: [2001:db8::9]:123 <- [fd00:c1ea:0:2::2]:40000\n"
    "203.0.113.9:1002 udp 40000 from 203.0.113.9\n"
    "2001:db8::9:123 udp 40000 from 2001:db8::9\n";

TEST(NetNsTest, EveryDoorSeesTheWantedAddressAndAnswersFromIt) {
  EXPECT_EQ(WithNetwork(TryDoors), kDoorsWork);
}

TEST(NetNsTest, WorksForAnOrdinaryUser) {
  if (getuid() != 0) GTEST_SKIP() << "the other tests already run as an ordinary user";
  const std::string result = InChild([]() -> std::string {
    // Where the device is root's alone, a copy of it that only this child sees has the usual mode.
    struct stat tun;
    if (stat("/dev/net/tun", &tun) == 0 && (tun.st_mode & 0666) != 0666 &&
        unshare(CLONE_NEWNS) == 0 && mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount("tmpfs", "/dev/net", "tmpfs", 0, nullptr) == 0) {
      (void)!mknod("/dev/net/tun", S_IFCHR, tun.st_rdev);
      (void)!chmod("/dev/net/tun", 0666);
    }
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return "setuid";
    prctl(PR_SET_DUMPABLE, 1);  // as after an exec: else /proc/self belongs to root
    return WithNetwork(TryDoors);
  });
  if (result.find("ermission") != std::string::npos) {
    // The error itself is what such a user must get.
    EXPECT_TRUE(result.starts_with("failed_precondition: ")) << result;
    EXPECT_NE(result.find("/dev/net/tun"), std::string::npos) << result;
    GTEST_SKIP() << result;
  }
  EXPECT_EQ(result, kDoorsWork);
}

struct Odd {
  const char* name;
  TestFrame frame;
};

// Datagrams that arrive at the UDP door when they are not odd.
std::vector<Odd> OddFrames() {
  const Bytes other_mac = {2, 0, 0, 0, 0, 3};
  const std::string other6 = "2001:db8::7";
  std::vector<Odd> all = {
      {"spoofed", {.source = "10.0.2.3"}},
      {"spoofed gateway", {.source = "10.0.2.1"}},
      {"spoofed loopback", {.source = "127.0.0.1", .destination = "10.0.2.1"}},
      {"spoofed IPv6", {.source = "fd00:c1ea:0:2::3", .destination = other6}},
      {"link-local IPv6", {.source = "fe80::2", .destination = other6}},
      {"other MAC", {.source_mac = other_mac}},
      {"other MAC, IPv6", {.source = kGuest6, .destination = other6, .source_mac = other_mac}},
      {"to another MAC", {.destination_mac = other_mac}},
      {"to all stations", {.destination_mac = Bytes(6, 0xff)}},
      {"VLAN 5", {.tags = {0x81, 0, 0, 5}}},
      {"VLAN 0", {.tags = {0x81, 0, 0, 0}}},
      {"VLAN 0, IPv6", {.source = kGuest6, .destination = other6, .tags = {0x81, 0, 0, 0}}},
      {"two tags", {.tags = {0x88, 0xa8, 0, 0, 0x81, 0, 0, 0}}},
      {"MPLS", {.ether_type = ETH_P_MPLS_UC}},
      {"an EtherType of nobody", {.ether_type = 0x88b5}},
      {"IPv4 in an IPv6 EtherType", {.ether_type = ETH_P_IPV6}},
      {"loose source route", {.options = {0x83, 7, 4, 10, 0, 2, 1, 0}}},
      {"record route", {.options = {7, 7, 4, 0, 0, 0, 0, 0}}},
      {"no-op options", {.options = {1, 1, 1, 0}}},
      {"first fragment", {.fragment = 0x2000}},
      {"later fragment", {.fragment = 0x0010}},
      {"multicast", {.destination = "224.0.0.251"}},
      {"reserved", {.destination = "240.0.0.1"}},
      {"broadcast", {.destination = "255.255.255.255"}},
      {"unspecified", {.destination = "0.0.0.0"}},
      {"loopback", {.destination = "127.0.0.1"}},
      {"loopback block", {.destination = "127.8.9.10"}},
      {"IPv4-mapped", {.source = kGuest6, .destination = "::ffff:198.51.100.7"}},
      {"IPv4-compatible", {.source = kGuest6, .destination = "::198.51.100.7"}},
      {"IPv6 loopback", {.source = kGuest6, .destination = "::1"}},
      {"IPv6 unspecified", {.source = kGuest6, .destination = "::"}},
      {"IPv6 multicast", {.source = kGuest6, .destination = "ff02::1"}},
  };
  for (const int header : {0, 43, 44, 51, 60, 135}) {
    all.push_back({"IPv6 extension header",
                   {.source = kGuest6,
                    .destination = other6,
                    .extension = static_cast<uint8_t>(header),
                    .has_extension = true}});
  }
  return all;
}

TEST(NetNsTest, OddFramesReachNoDoorAndAreNotAnswered) {
  EXPECT_EQ(WithNetwork([](NetNs& net) -> std::string {
              std::string wrong;
              int number = 0;
              for (Odd& odd : OddFrames()) {
                // The odd one, then an ordinary one: it is the next that arrives.
                odd.frame.payload = Payload(odd.name);
                odd.frame.port = 2000;
                Send(net, FrameOf(odd.frame));
                odd.frame.protocol = kTcp;
                Send(net, FrameOf(odd.frame));
                TestFrame ordinary{.port = 2000};
                const bool v4 = odd.frame.source.find(':') == std::string::npos;
                if (!v4) {
                  ordinary.source = kGuest6;
                  ordinary.destination = "2001:db8::9";
                }
                const std::string mark = fmt::format("ordinary {}", ++number);
                ordinary.payload = Payload(mark);
                Send(net, FrameOf(ordinary));
                const Datagram got = Receive(v4 ? net.doors.udp4.get() : net.doors.udp6.get());
                if (got.payload != mark) wrong += fmt::format("{}: {}\n", odd.name, got.ToString());
                // Nor did TCP answer: an echo's refusal comes next.
                ordinary.protocol = v4 ? kIcmp : kIcmpv6;
                ordinary.source_port = static_cast<uint16_t>(30000 + number);
                Send(net, FrameOf(ordinary));
                const Seen seen = NextSeen(net.tap.get());
                if (seen.what != "prohibited" || seen.port != ordinary.source_port) {
                  wrong += fmt::format("{}: {}\n", odd.name, seen.ToString());
                }
              }
              return wrong;
            }),
            "");
}

TEST(NetNsTest, OtherProtocolsAreRefusedAtOnceEachTime) {
  EXPECT_EQ(WithNetwork([](NetNs& net) -> std::string {
              uint16_t mark = 20000;
              for (int round = 0; round < 40; ++round) {
                for (const uint8_t protocol : {kIcmp, kSctp, uint8_t{47}}) {
                  Send(net, FrameOf({.protocol = protocol, .source_port = ++mark}));
                  const Seen seen = NextSeen(net.tap.get());
                  if (seen.what != "prohibited" || seen.port != mark) {
                    return fmt::format("protocol {}: {}", protocol, seen.ToString());
                  }
                }
                for (const uint8_t protocol : {kIcmpv6, kSctp, uint8_t{47}}) {
                  Send(net, FrameOf({.source = kGuest6,
                                     .destination = "2001:db8::7",
                                     .protocol = protocol,
                                     .source_port = ++mark}));
                  const Seen seen = NextSeen(net.tap.get());
                  if (seen.what != "prohibited" || seen.port != mark) {
                    return fmt::format("IPv6 protocol {}: {}", protocol, seen.ToString());
                  }
                }
              }
              return "";
            }),
            "");
}

TEST(NetNsTest, ArpTellsOnlyOfTheGatewayAndTeachesNothing) {
  EXPECT_EQ(WithNetwork([](NetNs& net) -> std::string {
              const Bytes other_mac = {2, 0, 0, 0, 0, 3};
              Send(net, ArpFrame(1, kGuestMac, kGuest4, "10.0.2.99"));
              Send(net, ArpFrame(1, kGuestMac, "10.0.2.77", "10.0.2.1"));
              Send(net, ArpFrame(1, other_mac, kGuest4, "10.0.2.1"));
              Send(net, ArpFrame(2, other_mac, kGuest4, kGuest4));
              Send(net, ArpFrame(2, kGuestMac, "10.0.2.1", "10.0.2.1"));
              Send(net, ArpFrame(1, kGuestMac, kGuest4, "10.0.2.1"));
              const Seen seen = NextSeen(net.tap.get());
              if (seen.ToString() != "arp 0 from 10.0.2.1") return seen.ToString();
              // Connect also checks which station the answer goes to.
              return Connect(net, net.doors.tcp4.get(), {});
            }),
            "198.51.100.7:443 <- 10.0.2.2:40000");
}

TEST(NetNsTest, TcpIsResetWhereNoDoorIsHeldOpen) {
  EXPECT_EQ(WithNetwork([](NetNs& net) {
              net.doors.tcp4.reset();
              net.doors.tcp6.reset();
              Send(net, FrameOf({.protocol = kTcp}));
              std::string out = NextSeen(net.tap.get()).ToString();
              Send(net,
                   FrameOf({.source = kGuest6, .destination = "2001:db8::7", .protocol = kTcp}));
              return out + ", " + NextSeen(net.tap.get()).ToString();
            }),
            "rst 40000 from 198.51.100.7, rst 40000 from 2001:db8::7");
}

TEST(NetNsTest, TheProcessStaysInTheHostsNetwork) {
  EXPECT_EQ(InChild([]() -> std::string {
              std::array<char, 64> before = {};
              std::array<char, 64> after = {};
              if (readlink("/proc/self/ns/net", before.data(), before.size()) < 0)
                return "readlink";
              auto net = NetNs::Create();
              if (!net) return net.error().ToString();
              if (readlink("/proc/self/ns/net", after.data(), after.size()) < 0) return "readlink";
              return before == after ? "" : "moved";
            }),
            "");
}

TEST(NetNsTest, TheNamespaceEndsWithItsDescriptors) {
  // A limit of one namespace makes the second the proof that the first is gone.
  EXPECT_EQ(InChild([]() -> std::string {
              const std::string uid_map = fmt::format("{0} {0} 1", getuid());
              const std::string gid_map = fmt::format("{0} {0} 1", getgid());
              if (unshare(CLONE_NEWUSER) != 0) return "unshare";
              const std::pair<std::string, std::string> settings[] = {
                  {"/proc/self/setgroups", "deny"},
                  {"/proc/self/uid_map", uid_map},
                  {"/proc/self/gid_map", gid_map},
                  {"/proc/sys/user/max_net_namespaces", "1"}};
              for (const auto& [path, text] : settings) {
                auto file = Open(path, O_WRONLY);
                if (!file || !WriteAll(file->get(), text, path)) return path;
              }
              auto first = NetNs::Create();
              if (!first) return first.error().ToString();
              if (unshare(CLONE_NEWNET) == 0) return "no limit";
              first = NetNs();
              const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
              while (std::chrono::steady_clock::now() < end) {
                if (unshare(CLONE_NEWNET) == 0) return "";
              }
              return "still there";
            }),
            "");
}

TEST(NetNsTest, StartsChildrenInNamespacesOfTheirOwn) {
  EXPECT_EQ(WithNetwork([](NetNs&) -> std::string {
              auto output = os::Run(
                  {"tail", "-n", "+3", "/proc/net/dev"},
                  {.spawn = {.new_namespaces = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC}});
              return output ? output->out.substr(0, output->out.find(':')) + output->err
                            : output.error().ToString();
            }),
            "    lo");
}

TEST(NetNsTest, DropsEveryPrivilege) {
  const std::string status = WithNetwork([](NetNs&) -> std::string {
    auto output = os::Run({"grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status"});
    return output ? output->out : output.error().ToString();
  });
  EXPECT_EQ(status,
            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
            "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
}

TEST(NetNsTest, SetUpTakesMilliseconds) {
  const std::string elapsed = InChild([]() -> std::string {
    const auto begin = std::chrono::steady_clock::now();
    auto net = NetNs::Create();  // held: taking the TAP down again takes the kernel a while
    if (!net) return net.error().ToString();
    return std::to_string(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
  });
  RecordProperty("milliseconds", elapsed);
  EXPECT_LT(std::stod(elapsed), 1000) << elapsed;
}

}  // namespace
}  // namespace cleanroom::os
