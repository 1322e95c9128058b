// For tests: a guest's network and an internet, each a namespace of this process in which every
// address is its own, and a TCP door between them. Sockets stay in the namespace they were made in:
// the door listens in the guest's and dials in the internet's, as in a sandbox.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doors/tcp/tcp_door.h"
#include "doors/testing/dns.h"
#include "net/socket_address.h"
#include "os/file.h"
#include "os/process.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {

class Namespaces {
 public:
  Namespaces() {
    // An ordinary user has the capabilities of a user namespace of its own; `ip` and `nft` need
    // one of them too.
    static bool entered = false;
    const uid_t uid = getuid();
    const gid_t gid = getgid();
    if (uid != 0 && !entered) {
      entered = true;
      Must(unshare(CLONE_NEWUSER) == 0, "unshare");
      WriteFile("/proc/self/setgroups", "deny");
      WriteFile("/proc/self/uid_map", fmt::format("{} {} 1", uid, uid));
      WriteFile("/proc/self/gid_map", fmt::format("{} {} 1", gid, gid));
      KeepForPrograms(CAP_NET_ADMIN);
    }
    guest_ = Make();
    internet_ = Make();
  }

  // Runs `work` in the guest's network; the rest of the test is in the internet.
  template <typename F>
  auto InGuest(F work) {
    Must(setns(guest_.get(), CLONE_NEWNET) == 0, "setns");
    auto result = work();
    Must(setns(internet_.get(), CLONE_NEWNET) == 0, "setns");
    return result;
  }

 private:
  static void Must(bool ok, const char* what) {
    if (ok) return;
    std::perror(what);
    std::abort();
  }
  static void KeepForPrograms(unsigned long capability) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> sets{};
    Must(syscall(SYS_capget, &header, sets.data()) == 0, "capget");
    sets[0].inheritable |= 1U << capability;
    Must(syscall(SYS_capset, &header, sets.data()) == 0, "capset");
    Must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0, "prctl");
  }
  static void WriteFile(const std::string& path, const std::string& text) {
    const os::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    Must(write(fd.get(), text.data(), text.size()) > 0, path.c_str());
  }
  static void Ip(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "ip");
    const auto output = os::Run(arguments);
    Must(output && output->status.ok(), "ip");
  }
  static os::UniqueFd Make() {
    Must(unshare(CLONE_NEWNET) == 0, "unshare");
    Ip({"link", "set", "lo", "up"});
    Ip({"route", "add", "local", "0.0.0.0/0", "dev", "lo"});
    Ip({"-6", "route", "add", "local", "::/0", "dev", "lo"});
    WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    return os::UniqueFd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  }

  os::UniqueFd guest_;
  os::UniqueFd internet_;
};

inline net::Endpoint At(std::string_view address, uint16_t port) { return {Ip(address), port}; }

inline os::UniqueFd ListenAt(const net::Endpoint& endpoint) {
  const net::SocketAddress address = net::ToSocketAddress(endpoint);
  os::UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &on, sizeof on);
  setsockopt(fd.get(), SOL_IP, IP_FREEBIND, &on, sizeof on);
  if (address.family() == AF_INET6) setsockopt(fd.get(), SOL_IPV6, IPV6_FREEBIND, &on, sizeof on);
  if (bind(fd.get(), address.get(), address.size) != 0 || listen(fd.get(), 2048) != 0) {
    std::perror("listen");
    std::abort();
  }
  return fd;
}

// From now on packets from this process to the address are lost. What went wrong, or nothing.
inline std::string LoseWhatIsSentTo(const std::string& address) {
  const auto output =
      os::Run({"nft",
               "add table inet t; add chain inet t o { type filter hook output priority 0; }; "
               "add rule inet t o ip daddr " +
                   address + " drop"});
  if (!output) return output.error().ToString();
  return output->status.ok() ? "" : "nft: " + output->err;
}

// What a client saw: all bytes, and how it ended ("end", "reset", "refused", or "open" when the
// time was up).
struct Seen {
  std::string bytes;
  std::string how;
  std::chrono::milliseconds took{0};
};

class Client {
 public:
  Client(asio::io_context& io, os::UniqueFd fd) : stream_(io.get_executor(), std::move(fd)) {}
  Stream& stream() { return stream_; }

  Awaitable<bool> Send(std::string bytes) {
    auto sent = stream_.WriteAll(std::move(bytes));
    co_return co_await std::move(sent);
  }
  // Until the end, or until `enough` bytes are there.
  Awaitable<Seen> Read(size_t enough = SIZE_MAX,
                       std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    const auto begin = Stream::Clock::now();
    const auto deadline = begin + limit;
    Seen seen;
    seen.how = "open";
    std::vector<char> buffer(64 << 10);
    while (seen.bytes.size() < enough) {
      const auto moved = stream_.Read(buffer);
      if (moved.status == Stream::Status::kMoved) {
        seen.bytes.append(buffer.data(), moved.count);
        continue;
      }
      if (moved.status == Stream::Status::kEnd) seen.how = "end";
      if (moved.status == Stream::Status::kFailed)
        seen.how = errno == ECONNRESET ? "reset" : "lost";
      if (moved.status != Stream::Status::kWouldBlock) break;
      auto wait = stream_.ReadyBy(Stream::Wait::wait_read, deadline);
      const auto ready = co_await std::move(wait);
      if (!ready) break;
    }
    seen.took = std::chrono::duration_cast<std::chrono::milliseconds>(Stream::Clock::now() - begin);
    co_return seen;
  }

 private:
  Stream stream_;
};

// A server whose behaviour towards each client is a coroutine.
class TestServer {
 public:
  using Behave = std::function<Awaitable<void>(Client&)>;
  TestServer(asio::io_context& io, const net::Endpoint& at, Behave behave)
      : io_(io), behave_(std::move(behave)), listener_(io), tasks_(io.get_executor()) {
    listener_.assign(ListenAt(at).release());
    tasks_.Spawn(Accept());
  }
  ~TestServer() {
    // From within the loop: there, a cancellation reaches a task before the task can end.
    bool stopped = false;
    asio::post(io_, [&] {
      listener_.close();
      tasks_.Cancel();
      for (auto& client : clients_) client->stream().Close();
      stopped = true;
    });
    while (!stopped || tasks_.size() > 0) {
      if (io_.stopped()) io_.restart();
      io_.run_one();
    }
  }
  int accepted() const { return accepted_; }

 private:
  Awaitable<void> Accept() {
    for (;;) {
      auto [error] =
          co_await listener_.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
      if (error) co_return;
      for (;;) {
        os::UniqueFd fd(
            accept4(listener_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) break;
        ++accepted_;
        clients_.push_back(std::make_unique<Client>(io_, std::move(fd)));
        tasks_.Spawn(behave_(*clients_.back()));
      }
    }
  }
  asio::io_context& io_;
  Behave behave_;
  asio::posix::stream_descriptor listener_;
  std::list<std::unique_ptr<Client>> clients_;
  int accepted_ = 0;
  TaskScope tasks_;
};

inline Awaitable<bool> CloseDoor(TcpDoor& door) {
  co_await door.Close();
  co_return true;
}

// The door, with real name service for its own look-ups.
class World {
 public:
  World(std::string_view network, const std::string& hosts, TcpDoorConfig config = {})
      : dns_("", hosts),
        rules_(RulesOf(network)),
        resolver_(io_.get_executor(), {.servers = {dns_.address()}}),
        door_(
            io_.get_executor(), WithGateway(std::move(config)), rules_, memory_, resolver_,
            [this](int fd) { return ServeDns(fd); }, sink_) {}
  ~World() { RunTask(io_, CloseDoor(door_)); }

  // The door takes connections to this port, of any address.
  void Open(uint16_t port) {
    auto sockets = spaces_.InGuest(
        [&] { return std::pair(ListenAt(At("0.0.0.0", port)), ListenAt(At("::", port))); });
    door_.Serve(std::move(sockets.first), std::move(sockets.second));
  }
  void Remember(std::string_view address, const std::string& name) {
    memory_.Remember(Ip(address), name, std::chrono::seconds(300), NameMemory::Clock::now());
  }
  void RememberStale(std::string_view address, const std::string& name) {
    memory_.Remember(Ip(address), name, std::chrono::seconds(1),
                     NameMemory::Clock::now() - std::chrono::hours(1));
  }

  // A connection of the guest; connecting to the door does not wait.
  std::unique_ptr<Client> Connect(const net::Endpoint& to) {
    return std::make_unique<Client>(io_, spaces_.InGuest([&] {
      const net::SocketAddress address = net::ToSocketAddress(to);
      os::UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (connect(fd.get(), address.get(), address.size) != 0) std::perror("connect");
      fcntl(fd.get(), F_SETFL, O_NONBLOCK);
      return fd;
    }));
  }

  // Connects, sends this, and reads until the door or the server ends it.
  Seen Exchange(const net::Endpoint& to, std::string bytes) {
    const auto client = Connect(to);
    return RunTask(io_, SendAndRead(*client, std::move(bytes)));
  }
  static Awaitable<Seen> SendAndRead(Client& client, std::string bytes) {
    auto send = client.Send(std::move(bytes));
    (void)co_await std::move(send);
    auto read = client.Read();
    co_return co_await std::move(read);
  }

  // A program of the guest, run to its end while the door works.
  os::Output Run(const std::vector<std::string>& argv, const std::string& input = "") {
    auto folder = os::TempDir::Create();
    const std::string out = folder->path() + "/out";
    const std::string err = folder->path() + "/err";
    const std::string in = folder->path() + "/in";
    std::ofstream(in) << input;
    const os::UniqueFd out_fd(open(out.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const os::UniqueFd err_fd(open(err.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const os::UniqueFd in_fd(open(in.c_str(), O_RDONLY | O_CLOEXEC));
    auto process = spaces_.InGuest([&] {
      return os::Process::Spawn(argv,
                                {.fds = {{0, in_fd.get()}, {1, out_fd.get()}, {2, err_fd.get()}}});
    });
    os::Output output;
    if (!process) {
      ADD_FAILURE() << process.error().ToString();
      return output;
    }
    asio::posix::stream_descriptor ended(io_, dup(process->pidfd()));
    bool over = false;
    ended.async_wait(asio::posix::stream_descriptor::wait_read,
                     [&](const boost::system::error_code&) { over = true; });
    while (!over) {
      if (io_.stopped()) io_.restart();
      io_.run_one();
    }
    output.status = process->Wait().value();
    output.out = os::ReadFile(out, 1 << 20).value();
    output.err = os::ReadFile(err, 1 << 20).value();
    return output;
  }

  // Lets the door work until `done`.
  bool Until(const std::function<bool()>& done,
             std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    const auto deadline = Stream::Clock::now() + limit;
    while (!done() && Stream::Clock::now() < deadline) {
      if (io_.stopped()) io_.restart();
      io_.run_one_for(std::chrono::milliseconds(10));
    }
    return done();
  }

  asio::io_context& io() { return io_; }
  TcpDoor& door() { return door_; }
  Rules& rules() { return rules_; }
  NameMemory& memory() { return memory_; }
  SinkForTest& sink() { return sink_; }
  Namespaces& spaces() { return spaces_; }
  int dns_connections() const { return dns_connections_; }

 private:
  static TcpDoorConfig WithGateway(TcpDoorConfig config) {
    config.gateway = {Ip("10.0.2.1"), Ip("fd00:c1ea:0:2::1")};
    return config;
  }
  Awaitable<void> ServeDns(int fd) {
    ++dns_connections_;
    ::close(fd);
    co_return;
  }

  Namespaces spaces_;
  asio::io_context io_;
  Dnsmasq dns_;
  Rules rules_;
  NameMemory memory_;
  Resolver resolver_;
  SinkForTest sink_;
  int dns_connections_ = 0;
  TcpDoor door_;
};

// A minimal ClientHello of TLS 1.2 (RFC 5246 7.4.1.2) with this server name, or without one.
inline std::string ClientHello(const std::string& name) {
  auto sized = [](size_t bytes, const std::string& body) {
    std::string out;
    for (size_t i = bytes; i > 0; --i) out += static_cast<char>(body.size() >> (8 * (i - 1)));
    return out + body;
  };
  std::string extensions;
  if (!name.empty()) {
    const std::string entry = std::string(1, '\0') + sized(2, name);
    extensions = std::string(2, '\0') + sized(2, sized(2, entry));
  }
  const std::string body = std::string("\x03\x03", 2) + std::string(32, 'r') + sized(1, "") +
                           sized(2, std::string("\xc0\x2f", 2)) + sized(1, std::string(1, '\0')) +
                           sized(2, extensions);
  return std::string("\x16\x03\x01", 3) + sized(2, "\x01" + sized(3, body));
}

// An alert that ends TLS, as the door writes it.
inline std::string Alert(unsigned char description) {
  return std::string("\x15\x03\x03\x00\x02\x02", 6) + static_cast<char>(description);
}

}  // namespace cleanroom::doors
