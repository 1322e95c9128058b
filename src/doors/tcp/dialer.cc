#include "doors/tcp/dialer.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

namespace cleanroom::doors {
namespace {

using Descriptor = asio::posix::stream_descriptor;

}  // namespace

std::vector<net::Endpoint> Interleave(std::span<const net::Endpoint> endpoints) {
  std::vector<net::Endpoint> same;
  std::vector<net::Endpoint> other;
  for (const net::Endpoint& endpoint : endpoints) {
    const bool first = endpoint.address.family() == endpoints.front().address.family();
    (first ? same : other).push_back(endpoint);
  }
  std::vector<net::Endpoint> out;
  for (size_t i = 0; i < std::max(same.size(), other.size()); ++i) {
    if (i < same.size()) out.push_back(same[i]);
    if (i < other.size()) out.push_back(other[i]);
  }
  return out;
}

// The attempts run in a scope of their own, which is joined before the race ends.
Race::Race(const asio::any_io_executor& executor, const DialerConfig& config)
    : config_(config), changed_(executor), scope_(executor) {}

Race::~Race() = default;

void Race::Begin(net::Endpoint target) {
  begun_at_ = Clock::now();
  scope_.Spawn(Try(target));
}

bool Race::ended() const {
  return winner_ || failed_ > 0 || Clock::now() >= *begun_at_ + config_.limit;
}

Awaitable<void> Race::WaitUntil(Clock::time_point deadline) {
  if (ended()) co_return;
  (void)co_await changed_.WaitUntil(std::min(deadline, *begun_at_ + config_.limit));
}

Awaitable<DialOutcome<DialledConnection>> Race::Run(std::vector<net::Endpoint> targets) {
  const bool alone = begun_at_ && targets.size() == 1;
  const auto deadline = (alone ? *begun_at_ : Clock::now()) + config_.limit;
  size_t started = begun_at_ ? 1 : 0;
  auto next = begun_at_ ? *begun_at_ + config_.stagger : Clock::now();
  size_t failed_before = 0;
  bool cancelled = false;
  while (!winner_ && !cancelled && Clock::now() < deadline) {
    if (started == targets.size() && failed_ == started) break;
    const bool start = Clock::now() >= next || failed_ != failed_before;
    if (started < targets.size() && start) {
      scope_.Spawn(Try(targets[started]));
      ++started;
      next = Clock::now() + config_.stagger;
    }
    failed_before = failed_;
    const auto until = started < targets.size() ? std::min(deadline, next) : deadline;
    while (!winner_ && !cancelled && failed_ == failed_before) {
      const bool in_time = co_await changed_.WaitUntil(until);
      cancelled = co_await Cancelled();
      if (!in_time) break;
    }
  }
  co_await Stop();
  if (winner_) co_return std::move(*winner_);
  co_return std::unexpected(Failure(targets));
}

Awaitable<void> Race::Stop() {
  over_ = true;
  scope_.Cancel();
  co_await scope_.Join();
}

Awaitable<void> Race::Try(net::Endpoint target) {
  if (!over_) {
    const int error = co_await Attempt(target);
    if (error != 0 && !over_) {
      ++failed_;
      if (first_error_ == 0) first_error_ = error;
    }
  }
  changed_.NotifyAll();
}

// An errno, or 0 when it won or came too late.
Awaitable<int> Race::Attempt(net::Endpoint target) {
  const net::SocketAddress address = net::ToSocketAddress(target);
  os::UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) co_return errno;
  if (connect(fd.get(), address.get(), address.size) != 0) {
    if (errno != EINPROGRESS) co_return errno;
    const auto executor = co_await asio::this_coro::executor;
    Descriptor descriptor(executor);
    boost::system::error_code unwatched;
    descriptor.assign(fd.get(), unwatched);
    if (unwatched) co_return unwatched.value();
    auto [failed] = co_await descriptor.async_wait(Descriptor::wait_write, kAwait);
    (void)descriptor.release();
    if (failed) co_return ECANCELED;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) co_return error;
  }
  if (!over_ && !winner_) winner_ = DialledConnection{std::move(fd), target};
  co_return 0;
}

Verdict Race::Failure(const std::vector<net::Endpoint>& targets) const {
  const std::string others =
      targets.size() > 1 ? fmt::format(" and {} more", targets.size() - 1) : "";
  const bool late = failed_ < targets.size() || first_error_ == 0;
  const std::string why = late ? "no answer in time" : strerror(first_error_);
  return {Code::kUpstreamFailed,
          0,
          fmt::format("cannot connect to {}{}: {}", targets.front().ToString(), others, why),
          {}};
}

Dialer::Dialer(asio::any_io_executor executor, DialerConfig config, const Rules& rules,
               Resolver& resolver)
    : executor_(std::move(executor)), config_(config), rules_(rules), resolver_(resolver) {}

std::optional<std::string> Dialer::Suspicion(const std::string& name, uint16_t port) {
  if (config_.guard == nullptr) return std::nullopt;
  const Verdict verdict = rules_.CheckName(name, port, policy::Protocol::kTcp);
  // What a rule names exactly carries nothing of the guest's choice; allow-all has no such limits.
  if (verdict.exact || verdict.code != Code::kAllowed) return std::nullopt;
  const auto now = TunnelGuard::Clock::now();
  if (auto found = config_.guard->CheckQuery(name, wire::dns_type::kA, now); found) return found;
  if (resolver_.Remembered(name, wire::dns_type::kA) ||
      resolver_.Remembered(name, wire::dns_type::kAaaa)) {
    return std::nullopt;
  }
  return config_.guard->CheckSending(name, now);
}

Awaitable<DialOutcome<std::vector<net::Endpoint>>> Dialer::Targets(std::string name,
                                                                   uint16_t port) {
  if (auto suspicion = Suspicion(name, port); suspicion) {
    Verdict verdict{Code::kTunnelSuspected, 0, *std::move(suspicion), {}};
    co_return std::unexpected(std::move(verdict));
  }
  const auto addresses = co_await resolver_.ResolveAddresses(name);
  if (!addresses) {
    co_return std::unexpected(
        Verdict{Code::kResolverFailed,
                0,
                fmt::format("{} was not resolved: {}", name, addresses.error().message()),
                {}});
  }
  std::vector<net::Endpoint> allowed;
  std::optional<Verdict> refusal;
  for (const net::IpAddress& address : addresses->list) {
    Verdict verdict = rules_.CheckTarget(name, address, port, policy::Protocol::kTcp);
    if (verdict.allowed()) {
      allowed.push_back({address, port});
    } else if (!refusal) {
      refusal = std::move(verdict);
    }
  }
  if (allowed.empty()) {
    if (refusal) co_return std::unexpected(*std::move(refusal));
    co_return std::unexpected(
        Verdict{Code::kResolverFailed, 0, fmt::format("{} has no address", name), {}});
  }
  auto ordered = Interleave(allowed);
  if (ordered.size() > config_.max_attempts)
    ordered.erase(ordered.begin() + static_cast<ptrdiff_t>(config_.max_attempts), ordered.end());
  co_return ordered;
}

Awaitable<DialOutcome<DialledConnection>> Dialer::Connect(std::vector<net::Endpoint> targets) {
  Race race(executor_, config_);
  auto run = race.Run(std::move(targets));
  co_return co_await std::move(run);
}

std::unique_ptr<Race> Dialer::NewRace() const { return std::make_unique<Race>(executor_, config_); }

}  // namespace cleanroom::doors
