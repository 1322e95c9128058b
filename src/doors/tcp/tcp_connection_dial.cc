// Where a TcpConnection connects to, and who speaks first there.
#include <algorithm>

#include "doors/tcp/tcp_connection.h"

namespace cleanroom::doors {

using policy::Protocol;

Awaitable<TcpConnection::First> TcpConnection::DialAhead(std::string name) {
  ahead_ = parts_.dialer.NewRace();
  ahead_->Begin(wanted_);
  const auto quiet_until = accepted_at_ + parts_.config.quiet;
  for (;;) {
    const bool cancelled = co_await Cancelled();
    if (cancelled || !guest_.open()) co_return First::kBroken;
    if (guest_.HasInput()) co_return First::kGuest;
    const bool quiet = Clock::now() >= quiet_until;
    if (quiet) LeaveUndecided();
    if (ahead_ && ahead_->ended()) {
      std::vector<net::Endpoint> targets(1, wanted_);
      unreachable_ = co_await TryConnect(std::move(targets), name);
      if (unreachable_) co_return First::kGuest;
      continue;
    }
    if (upstream_ && upstream_->HasBytes()) co_return First::kServer;
    const bool hung_up = upstream_ && upstream_->HasInput();
    if (hung_up && quiet) co_return First::kServer;
    co_await WaitForNews(hung_up, quiet ? Clock::time_point::max() : quiet_until);
  }
}

Awaitable<void> TcpConnection::WaitForNews(bool hung_up, Clock::time_point until) {
  using boost::asio::experimental::awaitable_operators::operator||;
  if (hung_up) {
    (void)co_await guest_.ReadyBy(Stream::Wait::wait_read, until);
    co_return;
  }
  if (upstream_) {
    auto either = internal::Quiet(guest_.Ready(Stream::Wait::wait_read)) ||
                  internal::Quiet(upstream_->ReadyBy(Stream::Wait::wait_read, until));
    (void)co_await std::move(either);
    co_return;
  }
  auto either = internal::Quiet(guest_.Ready(Stream::Wait::wait_read)) ||
                internal::Quiet(ahead_->WaitUntil(until));
  (void)co_await std::move(either);
}

Awaitable<bool> TcpConnection::DialPinned() {
  if (by_address_.allowed()) co_return true;
  co_return co_await DialName(pinned_);
}

Awaitable<bool> TcpConnection::DialWanted(std::string name) {
  std::vector<net::Endpoint> targets(1, wanted_);
  return Connect(std::move(targets), std::move(name));
}

Awaitable<bool> TcpConnection::DialName(std::string name) {
  LeaveUndecided();
  auto targets = co_await parts_.dialer.Targets(name, wanted_.port);
  if (!targets) {
    co_await Refuse(std::move(targets.error()), name);
    co_return false;
  }
  const auto same = std::find(targets->begin(), targets->end(), wanted_);
  const bool leads_here = same != targets->end();
  if (upstream_ && leads_here) {
    name_ = name;
    co_return guest_.open();
  }
  if (upstream_) upstream_->Close();
  if (leads_here && unreachable_) {
    // Tried a moment ago.
    targets->erase(same);
    if (targets->empty()) {
      co_await Refuse(*unreachable_, std::move(name));
      co_return false;
    }
  } else if (leads_here) {
    std::rotate(targets->begin(), same, same + 1);
  }
  const bool connected = co_await Connect(*std::move(targets), std::move(name));
  co_return connected;
}

Awaitable<bool> TcpConnection::Connect(std::vector<net::Endpoint> targets, std::string name) {
  LeaveUndecided();
  auto failure = co_await TryConnect(std::move(targets), name);
  if (!guest_.open()) co_return false;
  if (!failure) co_return true;
  co_await Refuse(*std::move(failure), name);
  co_return false;
}

Awaitable<std::optional<Verdict>> TcpConnection::TryConnect(std::vector<net::Endpoint> targets,
                                                            std::string name) {
  const bool elsewhere = ahead_ && targets.front() != wanted_;
  if (elsewhere) {
    co_await ahead_->Stop();
    ahead_.reset();
  }
  if (!ahead_) ahead_ = parts_.dialer.NewRace();
  auto connection = co_await ahead_->Run(std::move(targets));
  ahead_.reset();
  if (!connection) co_return std::move(connection.error());
  if (!guest_.open()) co_return std::nullopt;
  // The stage may have changed meanwhile.
  const net::Endpoint& to = connection->endpoint;
  Verdict verdict = name.empty()
                        ? parts_.rules.CheckAddress(to.address, to.port, Protocol::kTcp)
                        : parts_.rules.CheckTarget(name, to.address, to.port, Protocol::kTcp);
  if (!verdict.allowed()) co_return verdict;
  dialled_ = to;
  name_ = std::move(name);
  upstream_ = std::make_unique<Stream>(guest_.executor(), std::move(connection->fd));
  if (!opened_) parts_.sink.Opened(Service::kTcp, 1);
  opened_ = true;
  co_return std::nullopt;
}

Awaitable<TcpConnection::First> TcpConnection::WhoSpeaksFirst() {
  using boost::asio::experimental::awaitable_operators::operator||;
  if (guest_.HasInput()) co_return First::kGuest;
  auto either = internal::Quiet(guest_.Ready(Stream::Wait::wait_read)) ||
                internal::Quiet(upstream_->Ready(Stream::Wait::wait_read));
  const auto first = co_await std::move(either);
  if (!guest_.open() || !upstream_->open()) co_return First::kBroken;
  co_return first.index() == 0 ? First::kGuest : First::kServer;
}

}  // namespace cleanroom::doors
