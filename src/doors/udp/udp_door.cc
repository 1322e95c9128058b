#include "doors/udp/udp_door.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <random>

#include "doors/rules/why_refused.h"
#include "doors/udp/packet.h"

namespace cleanroom::doors {
namespace {

using policy::Protocol;
using Descriptor = asio::posix::stream_descriptor;

constexpr int kBatch = 64;  // datagrams of a socket, then others get their turn
constexpr std::chrono::seconds kReportInterval{5};

std::optional<net::Endpoint> OriginalDestination(msghdr& message) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    const bool v4 = control->cmsg_level == SOL_IP && control->cmsg_type == IP_ORIGDSTADDR;
    const bool v6 = control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_ORIGDSTADDR;
    if (!v4 && !v6) continue;
    sockaddr_storage storage = {};
    std::memcpy(&storage, CMSG_DATA(control), v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    return net::FromSocketAddress(storage);
  }
  return std::nullopt;
}

bool Unreachable(int error) {
  return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EPERM ||
         error == EACCES;
}

}  // namespace

struct UdpDoor::Listener {
  explicit Listener(const asio::any_io_executor& executor) : descriptor(executor) {}
  Descriptor descriptor;
};

struct UdpDoor::Flow {
  Flow(const asio::any_io_executor& executor, Key flow_key) : key(flow_key), upstream(executor) {}
  Key key;
  Descriptor upstream;
  std::string name;  // that it passes by; empty: by its address
  Clock::time_point used = Clock::now();
  bool answered = false;
  uint64_t sent = 0;  // bytes not yet reported
  uint64_t received = 0;
};

UdpDoor::UdpDoor(asio::any_io_executor executor, UdpDoorConfig config, const Rules& rules,
                 NameMemory& memory, DecisionSink& sink)
    : executor_(executor),
      config_(std::move(config)),
      rules_(rules),
      memory_(memory),
      sink_(sink),
      buffer_(64 << 10),
      next_id_(std::random_device()()),
      tasks_(executor) {
  tasks_.Spawn(Sweep());
}

UdpDoor::~UdpDoor() = default;

void UdpDoor::Serve(Sockets sockets) {
  raw4_ = std::move(sockets.raw4);
  raw6_ = std::move(sockets.raw6);
  os::UniqueFd* const listening[] = {&sockets.udp4, &sockets.udp6};
  for (os::UniqueFd* socket : listening) {
    if (!socket->valid()) continue;
    Listener& listener = listeners_.emplace_back(executor_);
    listener.descriptor.assign(socket->release());
    tasks_.Spawn(Receive(&listener));
  }
}

Awaitable<void> UdpDoor::Receive(Listener* listener) {
  while (!closing_) {
    auto [error] = co_await listener->descriptor.async_wait(Descriptor::wait_read, kAwait);
    if (error || closing_) break;
    for (int i = 0; i < kBatch; ++i) {
      if (!ReceiveOne(*listener)) break;
    }
  }
}

bool UdpDoor::ReceiveOne(Listener& listener) {
  sockaddr_storage from = {};
  iovec part{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) std::array<char, 256> control;
  msghdr message = {};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = recvmsg(listener.descriptor.native_handle(), &message, MSG_DONTWAIT);
  if (n < 0) return errno == EINTR;
  const auto guest = net::FromSocketAddress(from);
  const auto wanted = OriginalDestination(message);
  if (guest && wanted && (message.msg_flags & MSG_TRUNC) == 0) {
    FromGuest(*guest, *wanted, std::span(buffer_).first(static_cast<size_t>(n)));
  } else {
    ++dropped_;
  }
  return true;
}

Verdict UdpDoor::Check(const net::Endpoint& wanted, std::string& name) {
  const bool gateway = std::find(config_.gateway.begin(), config_.gateway.end(), wanted.address) !=
                       config_.gateway.end();
  if (gateway) {
    return {Code::kUnsupported, 0, "the gateway serves nothing over UDP", {}};
  }
  Verdict by_address = rules_.CheckAddress(wanted.address, wanted.port, Protocol::kUdp);
  if (by_address.allowed()) return by_address;
  if (!NoNameHelps(by_address.code)) {
    for (const auto& known : memory_.Lookup(wanted.address, Clock::now())) {
      if (!known.fresh) continue;
      Verdict by_name = rules_.CheckTarget(known.name, wanted.address, wanted.port, Protocol::kUdp);
      if (!by_name.allowed()) continue;
      name = known.name;
      return by_name;
    }
  }
  return WhyRefused(rules_, memory_, by_address, wanted, Protocol::kUdp, "", name);
}

void UdpDoor::FromGuest(const net::Endpoint& guest, const net::Endpoint& wanted,
                        std::span<const uint8_t> payload) {
  const Key key(guest, wanted);
  const auto found = flows_.find(key);
  Flow* flow = found != flows_.end() ? found->second.get() : Open(key, payload);
  if (flow == nullptr) return;
  flow->used = Clock::now();
  const ssize_t n = send(flow->upstream.native_handle(), payload.data(), payload.size(),
                         MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) {
    flow->sent += payload.size();
  } else if (Unreachable(errno)) {
    // Of an earlier datagram, or of this one: the guest learns it in either case.
    const int error = errno;
    Record(wanted, flow->name,
           {Code::kUpstreamFailed,
            0,
            fmt::format("{} cannot be reached over UDP: {}", wanted.ToString(), strerror(error)),
            {}});
    SendUnreachable(key, payload);
    End(*flow);
  } else {
    ++dropped_;
  }
}

UdpDoor::Flow* UdpDoor::Open(const Key& key, std::span<const uint8_t> payload) {
  const net::Endpoint& wanted = key.second;
  std::string name;
  Verdict verdict = Check(wanted, name);
  if (!verdict.allowed()) {
    Record(wanted, name, verdict);
    SendUnreachable(key, payload);
    return nullptr;
  }
  if (flows_.size() >= config_.max_flows) {
    const auto oldest = std::min_element(
        flows_.begin(), flows_.end(),
        [](const auto& a, const auto& b) { return a.second->used < b.second->used; });
    End(*oldest->second);
  }
  const net::SocketAddress address = net::ToSocketAddress(wanted);
  os::UniqueFd fd(socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  auto flow = std::make_unique<Flow>(executor_, key);
  boost::system::error_code unwatched;
  if (fd && connect(fd.get(), address.get(), address.size) == 0) {
    flow->upstream.assign(fd.get(), unwatched);
    if (!unwatched) (void)fd.release();
  }
  if (!flow->upstream.is_open()) {
    Record(wanted, name,
           {Code::kUpstreamFailed,
            0,
            fmt::format("{} cannot be reached over UDP: {}", wanted.ToString(), strerror(errno)),
            {}});
    SendUnreachable(key, payload);
    return nullptr;
  }
  flow->name = name;
  Record(wanted, name, verdict);
  sink_.Opened(Service::kUdp, 1);
  Flow* const opened = flow.get();
  flows_.emplace(key, std::move(flow));
  tasks_.Spawn(Answer(opened));
  return opened;
}

Awaitable<void> UdpDoor::Answer(Flow* flow) {
  while (flow->upstream.is_open() && !closing_) {
    auto [failed] = co_await flow->upstream.async_wait(Descriptor::wait_read, kAwait);
    if (failed) break;
    for (int i = 0; i < kBatch && flow->upstream.is_open(); ++i) {
      const ssize_t n =
          recv(flow->upstream.native_handle(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (n >= 0) {
        flow->used = Clock::now();
        flow->answered = true;
        flow->received += static_cast<size_t>(n);
        const auto payload = std::span(buffer_).first(static_cast<size_t>(n));
        for (const auto& packet :
             UdpPackets(flow->key.second, flow->key.first, payload, next_id_++)) {
          SendRaw(flow->key.first, packet);
        }
        continue;
      }
      const int error = errno;
      if (Unreachable(error)) {
        Record(flow->key.second, flow->name,
               {Code::kUpstreamFailed,
                0,
                fmt::format("{} cannot be reached over UDP: {}", flow->key.second.ToString(),
                            strerror(error)),
                {}});
        SendUnreachable(flow->key, {});
        End(*flow);
      }
      break;
    }
  }
  // End() moved it there, or the door closes.
  if (!closing_) {
    std::erase_if(ended_, [flow](const auto& ended) { return ended.get() == flow; });
  }
}

Awaitable<void> UdpDoor::Sweep() {
  auto next_report = Clock::now() + kReportInterval;
  while (!closing_) {
    const auto slept = co_await SleepFor(config_.sweep);
    if (!slept) break;
    const auto now = Clock::now();
    const bool report = now >= next_report;
    if (report) next_report = now + kReportInterval;
    std::vector<Flow*> idle;
    for (const auto& [key, flow] : flows_) {
      if (now - flow->used >= (flow->answered ? config_.idle : config_.unanswered)) {
        idle.push_back(flow.get());
      } else if (report) {
        Report(*flow);
      }
    }
    for (Flow* flow : idle) End(*flow);
  }
}

void UdpDoor::Report(Flow& flow) {
  if (flow.sent == 0 && flow.received == 0) return;
  sink_.Transferred(Service::kUdp, std::exchange(flow.sent, 0), std::exchange(flow.received, 0));
}

void UdpDoor::End(Flow& flow) {
  const auto found = flows_.find(flow.key);
  if (found == flows_.end() || found->second.get() != &flow) return;
  Report(flow);
  sink_.Opened(Service::kUdp, -1);
  boost::system::error_code ignored;
  flow.upstream.close(ignored);
  ended_.push_back(std::move(found->second));
  flows_.erase(found);
}

void UdpDoor::StageChanged() {
  std::vector<std::pair<Flow*, Verdict>> cut;
  for (const auto& [key, flow] : flows_) {
    const net::Endpoint& wanted = key.second;
    Verdict verdict = rules_.CheckAddress(wanted.address, wanted.port, Protocol::kUdp);
    if (!flow->name.empty()) {
      verdict = rules_.CheckTarget(flow->name, wanted.address, wanted.port, Protocol::kUdp);
    }
    if (!verdict.allowed()) cut.emplace_back(flow.get(), std::move(verdict));
  }
  for (auto& [flow, verdict] : cut) {
    verdict.message += " in this stage";
    Record(flow->key.second, flow->name, verdict);
    SendUnreachable(flow->key, {});
    End(*flow);
  }
}

void UdpDoor::Record(const net::Endpoint& wanted, const std::string& host, const Verdict& verdict) {
  Decision decision;
  decision.service = Service::kUdp;
  decision.protocol = Protocol::kUdp;
  decision.host = host;
  decision.address = wanted.address;
  decision.port = wanted.port;
  decision.code = verdict.code;
  decision.message = verdict.message;
  decision.suggestion = verdict.suggestion;
  decision.line = verdict.line;
  sink_.Record(decision);
}

void UdpDoor::SendRaw(const net::Endpoint& guest, std::span<const uint8_t> packet) {
  net::Endpoint to = guest;
  to.port = 0;  // raw sockets have none
  const net::SocketAddress address = net::ToSocketAddress(to);
  const int fd = address.family() == AF_INET ? raw4_.get() : raw6_.get();
  const ssize_t n = sendto(fd, packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                           address.get(), address.size);
  if (n < 0) ++dropped_;
}

void UdpDoor::SendUnreachable(const Key& key, std::span<const uint8_t> payload) {
  SendRaw(key.first, PortUnreachable(key.first, key.second, payload));
}

Awaitable<void> UdpDoor::Close() {
  closing_ = true;
  boost::system::error_code ignored;
  for (Listener& listener : listeners_) listener.descriptor.close(ignored);
  while (!flows_.empty()) End(*flows_.begin()->second);
  tasks_.Cancel();
  co_await tasks_.Join();
  ended_.clear();
}

}  // namespace cleanroom::doors
