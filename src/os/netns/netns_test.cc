#include "os/netns/netns.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"

namespace cleanroom::os {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kVnetHeader = 10;
constexpr int kTcp = 6;
constexpr int kUdp = 17;
constexpr int kIcmp = 1;
constexpr int kIcmpv6 = 58;

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

void Put16(Bytes* out, size_t value) {
  out->push_back(static_cast<uint8_t>(value >> 8));
  out->push_back(static_cast<uint8_t>(value));
}

uint16_t Checksum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<uint32_t>(bytes[i] << 8) + (i + 1 < bytes.size() ? bytes[i + 1] : 0U);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Bytes Address(const std::string& text) {
  Bytes out(text.find(':') == std::string::npos ? 4 : 16);
  inet_pton(out.size() == 4 ? AF_INET : AF_INET6, text.c_str(), out.data());
  return out;
}

// The transport part, its checksum over the pseudo header included. `mark` becomes the source port.
Bytes Transport(int protocol, uint16_t mark, const Bytes& from, const Bytes& to) {
  Bytes out;
  size_t checksum_at = 0;
  if (protocol == kTcp) {
    Put16(&out, mark);
    Put16(&out, 443);
    out.insert(out.end(), {0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0});  // SYN
    checksum_at = 16;
  } else if (protocol == kUdp) {
    Put16(&out, mark);
    Put16(&out, 53);
    Put16(&out, 8);
    Put16(&out, 0);
    checksum_at = 6;
  } else {  // echo request
    out.insert(out.end(), {static_cast<uint8_t>(protocol == kIcmp ? 8 : 128), 0, 0, 0});
    Put16(&out, mark);
    Put16(&out, 1);
    checksum_at = 2;
  }
  Bytes summed;
  if (protocol != kIcmp) {
    summed.insert(summed.end(), from.begin(), from.end());
    summed.insert(summed.end(), to.begin(), to.end());
    Put16(&summed, static_cast<size_t>(protocol));
    Put16(&summed, out.size());
  }
  summed.insert(summed.end(), out.begin(), out.end());
  const uint16_t sum = Checksum(summed);
  out[checksum_at] = static_cast<uint8_t>(sum >> 8);
  out[checksum_at + 1] = static_cast<uint8_t>(sum);
  return out;
}

Bytes Frame(const std::string& source, const std::string& destination, int protocol,
            uint16_t mark) {
  const Bytes from = Address(source);
  const Bytes to = Address(destination);
  const Bytes payload = Transport(protocol, mark, from, to);
  Bytes ip;
  if (from.size() == 4) {
    ip = {0x45, 0};
    Put16(&ip, 20 + payload.size());
    ip.insert(ip.end(), {0, 0, 0x40, 0, 64, static_cast<uint8_t>(protocol), 0, 0});
    ip.insert(ip.end(), from.begin(), from.end());
    ip.insert(ip.end(), to.begin(), to.end());
    const uint16_t sum = Checksum(ip);
    ip[10] = static_cast<uint8_t>(sum >> 8);
    ip[11] = static_cast<uint8_t>(sum);
  } else {
    ip = {0x60, 0, 0, 0};
    Put16(&ip, payload.size());
    ip.insert(ip.end(), {static_cast<uint8_t>(protocol), 64});
    ip.insert(ip.end(), from.begin(), from.end());
    ip.insert(ip.end(), to.begin(), to.end());
  }
  Bytes frame(kVnetHeader);
  frame.insert(frame.end(), {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2});
  Put16(&frame, from.size() == 4 ? ETH_P_IP : ETH_P_IPV6);
  frame.insert(frame.end(), ip.begin(), ip.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

// What the guest would see next: "rst MARK from ADDRESS", "prohibited MARK", or "nothing" after a
// while.
std::string NextAnswer(int tap) {
  for (;;) {
    pollfd watched{tap, POLLIN, 0};
    if (poll(&watched, 1, 3000) != 1) return "nothing";
    Bytes frame(2048);
    const ssize_t n = read(tap, frame.data(), frame.size());
    if (n < static_cast<ssize_t>(kVnetHeader + 14 + 40)) continue;
    const uint8_t* ip = frame.data() + kVnetHeader + 14;
    const bool v4 = ip[0] >> 4 == 4;
    const int protocol = v4 ? ip[9] : ip[6];
    const uint8_t* next = ip + (v4 ? 20 : 40);
    char from[INET6_ADDRSTRLEN];
    inet_ntop(v4 ? AF_INET : AF_INET6, ip + (v4 ? 12 : 8), from, sizeof from);
    if (protocol == kTcp && (next[13] & 0x04) != 0) {
      return fmt::format("rst {} from {}", next[2] << 8 | next[3], from);
    }
    if (v4 && protocol == kIcmp && next[0] == 3 && next[1] == 13) {
      const uint8_t* inner = next + 8 + 20;
      return fmt::format("prohibited {}",
                         inner[0] == 8 ? inner[4] << 8 | inner[5] : inner[0] << 8 | inner[1]);
    }
    if (!v4 && protocol == kIcmpv6 && next[0] == 1 && next[1] == 1) {
      const uint8_t* inner = next + 8 + 40;
      return fmt::format("prohibited {}",
                         inner[0] == 128 ? inner[4] << 8 | inner[5] : inner[0] << 8 | inner[1]);
    }
  }
}

struct Probe {
  std::string source;
  std::string destination;
  int protocol;
  std::string answer;  // empty: none is to come before the answer to the next probe
};

// Sends every probe in turn over the TAP of a new namespace.
std::string CheckFloor(const std::vector<Probe>& probes) {
  auto net = NetNs::Create();
  if (!net) return net.error().ToString();
  if (auto dropped = DropPrivileges(); !dropped) return dropped.error().ToString();
  uint16_t mark = 20000;
  for (const Probe& probe : probes) {
    const Bytes frame = Frame(probe.source, probe.destination, probe.protocol, ++mark);
    if (write(net->tap_fd(), frame.data(), frame.size()) != static_cast<ssize_t>(frame.size())) {
      return fmt::format("write to the TAP: {}", strerror(errno));
    }
    if (probe.answer.empty()) continue;
    const std::string got = NextAnswer(net->tap_fd());
    const std::string want = fmt::format(fmt::runtime(probe.answer), mark);
    if (got != want) {
      return fmt::format("{} -> {} protocol {}: want '{}', got '{}'", probe.source,
                         probe.destination, probe.protocol, want, got);
    }
  }
  return "";
}

const std::vector<Probe>& Probes() {
  static const std::vector<Probe> probes = {
      {"10.0.2.2", "198.51.100.7", kTcp, "rst {} from 198.51.100.7"},
      {"10.0.2.2", "10.0.2.1", kTcp, "rst {} from 10.0.2.1"},
      {"10.0.2.2", "169.254.169.254", kTcp, "rst {} from 169.254.169.254"},
      {"10.0.2.2", "198.51.100.7", kUdp, "prohibited {}"},
      {"10.0.2.2", "10.0.2.1", kUdp, "prohibited {}"},
      {"10.0.2.2", "198.51.100.7", kIcmp, "prohibited {}"},
      {"10.0.2.3", "198.51.100.7", kTcp, ""},  // spoofed: the next answer is to the next probe
      {"127.0.0.1", "10.0.2.1", kTcp, ""},
      {"10.0.2.2", "224.0.0.251", kUdp, ""},
      {"10.0.2.2", "198.51.100.8", kTcp, "rst {} from 198.51.100.8"},
      {"fd00:c1ea:0:2::2", "2001:db8::7", kTcp, "rst {} from 2001:db8::7"},
      {"fd00:c1ea:0:2::2", "fd00:c1ea:0:2::1", kTcp, "rst {} from fd00:c1ea:0:2::1"},
      {"fd00:c1ea:0:2::2", "2001:db8::7", kUdp, "prohibited {}"},
      {"fd00:c1ea:0:2::2", "2001:db8::7", kIcmpv6, "prohibited {}"},
      {"fd00:c1ea:0:2::3", "2001:db8::7", kTcp, ""},
      {"fe80::1", "2001:db8::7", kUdp, ""},
      {"fd00:c1ea:0:2::2", "2001:db8::8", kTcp, "rst {} from 2001:db8::8"},
  };
  return probes;
}

TEST(NetNsTest, AnswersEveryAttemptAtOnceAndForwardsNothing) {
  EXPECT_EQ(InChild([] { return CheckFloor(Probes()); }), "");
}

TEST(NetNsTest, KeepsRefusingAtOnceUnderManyAttempts) {
  std::vector<Probe> many(120, {"10.0.2.2", "198.51.100.7", kUdp, "prohibited {}"});
  many.insert(many.end(), 120, {"fd00:c1ea:0:2::2", "2001:db8::7", kUdp, "prohibited {}"});
  EXPECT_EQ(InChild([&] { return CheckFloor(many); }), "");
}

TEST(NetNsTest, WorksForAnOrdinaryUser) {
  if (getuid() != 0) GTEST_SKIP() << "the other tests already run as an ordinary user";
  const std::string failure = InChild([]() -> std::string {
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
    return CheckFloor(Probes());
  });
  if (failure.find("permission") != std::string::npos ||
      failure.find("Permission") != std::string::npos) {
    // The error itself is what such a user must get.
    EXPECT_TRUE(failure.starts_with("failed_precondition: ")) << failure;
    EXPECT_NE(failure.find("/dev/net/tun"), std::string::npos) << failure;
    GTEST_SKIP() << failure;
  }
  EXPECT_EQ(failure, "");
}

TEST(NetNsTest, DropsEveryPrivilege) {
  const std::string status = InChild([]() -> std::string {
    if (auto net = NetNs::Create(); !net) return net.error().ToString();
    if (auto dropped = DropPrivileges(); !dropped) return dropped.error().ToString();
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
