#include "doors/tcp/tcp_door.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "net/socket_address.h"

namespace cleanroom::doors {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint16_t kDnsPort = 53;
constexpr int kAcceptBatch = 32;  // then other connections get their turn
// When the process is out of descriptors or memory.
constexpr std::chrono::milliseconds kAcceptPause{20};

void ResetFd(os::UniqueFd fd) {
  const linger now{1, 0};
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

struct TcpDoor::Listener {
  explicit Listener(const asio::any_io_executor& executor) : descriptor(executor) {}
  asio::posix::stream_descriptor descriptor;
};

TcpDoor::TcpDoor(asio::any_io_executor executor, TcpDoorConfig config, const Rules& rules,
                 NameMemory& memory, Resolver& resolver, ServeDns dns, DecisionSink& sink)
    : executor_(executor),
      config_(std::move(config)),
      sink_(sink),
      dns_(std::move(dns)),
      dialer_(executor, config_.dialer, rules, resolver),
      gateway_(sink),
      parts_{config_.connection, rules, memory, dialer_, pipes_, sink},
      decided_(executor),
      tasks_(executor) {
  tasks_.Spawn(ReportNow());
}

TcpDoor::~TcpDoor() = default;

void TcpDoor::Serve(os::UniqueFd tcp4, os::UniqueFd tcp6) {
  os::UniqueFd* const sockets[] = {&tcp4, &tcp6};
  for (os::UniqueFd* socket : sockets) {
    if (!socket->valid()) continue;
    Listener& listener = listeners_.emplace_back(executor_);
    listener.descriptor.assign(socket->release());
    tasks_.Spawn(Accept(&listener));
  }
}

Awaitable<void> TcpDoor::Accept(Listener* listener) {
  int batch = 0;
  while (!closing_) {
    co_await MakeRoom();
    if (closing_) break;
    os::UniqueFd fd(accept4(listener->descriptor.native_handle(), nullptr, nullptr,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      Admit(std::move(fd));
      if (++batch < kAcceptBatch) continue;
      batch = 0;
      co_await asio::post(asio::use_awaitable);
      continue;
    }
    batch = 0;
    if (errno == EAGAIN) {
      const auto state = co_await asio::this_coro::cancellation_state;
      if (state.cancelled() != asio::cancellation_type::none) break;
      auto [error] = co_await listener->descriptor.async_wait(
          asio::posix::stream_descriptor::wait_read, kAwait);
      if (error) break;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      const auto slept = co_await SleepFor(kAcceptPause);
      if (!slept) break;
    } else if (errno == EBADF || errno == EINVAL) {
      break;
    }  // else: the one connection failed before it was accepted
  }
}

Awaitable<void> TcpDoor::MakeRoom() {
  while (!closing_ && undecided_ >= config_.max_undecided) {
    const auto oldest =
        std::find_if(connections_.begin(), connections_.end(),
                     [](const auto& connection) { return connection->undecided(); });
    if (oldest == connections_.end()) break;
    const auto until = (*oldest)->accepted_at() + config_.undecided_grace;
    if (Clock::now() >= until) {
      (*oldest)->RefuseLimit(fmt::format(
          "{} connections at once whose first message is not complete", config_.max_undecided));
      // Its task ends by itself.
      co_await decided_.Wait();
      continue;
    }
    const bool decided = co_await decided_.WaitUntil(until);
    (void)decided;
  }
}

bool TcpDoor::IsGateway(const net::Endpoint& wanted) const {
  return std::find(config_.gateway.begin(), config_.gateway.end(), wanted.address) !=
         config_.gateway.end();
}

void TcpDoor::Admit(os::UniqueFd fd) {
  const auto wanted = net::LocalEndpoint(fd.get());
  if (!wanted) return;
  if (wanted->port == kDnsPort && dns_) {
    tasks_.Spawn(dns_(fd.release()));
    return;
  }
  if (connections_.size() + gateway_connections_ >= config_.max_connections) {
    RefuseTooMany(std::move(fd), *wanted);
    return;
  }
  if (IsGateway(*wanted) && wanted->port == GatewayDoor::kPort) {
    ++gateway_connections_;
    tasks_.Spawn(RunGateway(fd.release(), *wanted));
    return;
  }
  if (IsGateway(*wanted)) {
    Decision decision;
    decision.service = Service::kGateway;
    decision.host = std::string(GatewayDoor::kHost);
    decision.address = wanted->address;
    decision.port = wanted->port;
    decision.code = Code::kNoSuchRoute;
    decision.message = fmt::format("the gateway serves nothing on port {}", wanted->port);
    sink_.Record(decision);
    ResetFd(std::move(fd));
    return;
  }
  ++undecided_;
  auto decided = [this] {
    --undecided_;
    decided_.NotifyAll();
  };
  const auto place = connections_.insert(
      connections_.end(),
      std::make_unique<TcpConnection>(executor_, parts_, std::move(fd), *wanted, decided));
  tasks_.Spawn(Run(place));
}

void TcpDoor::RefuseTooMany(os::UniqueFd fd, const net::Endpoint& wanted) {
  Decision decision;
  decision.address = wanted.address;
  decision.port = wanted.port;
  decision.code = Code::kLimitExceeded;
  decision.message =
      fmt::format("this sandbox has {} connections open already", config_.max_connections);
  sink_.Record(decision);
  ResetFd(std::move(fd));
}

Awaitable<void> TcpDoor::Run(Connections::iterator connection) {
  co_await (*connection)->Run();
  connections_.erase(connection);
}

Awaitable<void> TcpDoor::RunGateway(int fd, net::Endpoint wanted) {
  Stream stream(executor_, os::UniqueFd(fd));
  co_await gateway_.Serve(stream, wanted);
  --gateway_connections_;
}

Awaitable<void> TcpDoor::ReportNow() {
  while (!closing_) {
    const auto slept = co_await SleepFor(config_.report_interval);
    if (!slept) break;
    for (const auto& connection : connections_) connection->Report();
  }
}

void TcpDoor::StageChanged() {
  for (const auto& connection : connections_) connection->Recheck();
}

Awaitable<void> TcpDoor::Close() {
  closing_ = true;
  for (Listener& listener : listeners_) {
    boost::system::error_code ignored;
    listener.descriptor.close(ignored);
  }
  for (const auto& connection : connections_) connection->Abort();
  decided_.NotifyAll();
  tasks_.Cancel();
  co_await tasks_.Join();
}

}  // namespace cleanroom::doors
