#include "doors/tcp/inspected_relay.h"

#include <algorithm>
#include <array>

namespace cleanroom::doors {
namespace {

constexpr size_t kChunk = 16 << 10;

std::span<char> Chunk(PipePool& pool) { return std::span(pool.scratch()).first(kChunk); }

}  // namespace

Http1Relay::Http1Relay(Stream& guest, Stream& upstream, PipePool& pool,
                       wire::Http1Inspector& inspector, wire::Http1Inspector::Step first,
                       Refuse refuse)
    : Relay(guest, upstream, pool, std::move(first.forward)),
      inspector_(inspector),
      refuse_(std::move(refuse)),
      outcome_(first.outcome),
      answered_(guest.executor()) {}

Awaitable<bool> Http1Relay::Up() {
  const bool first = co_await SendFirst();
  if (!first) co_return false;
  received_before_ = received();
  for (;;) {
    while (inspector_.wants_response() && guest_.open()) co_await answered_.Wait();
    if (!held_.empty()) {
      const bool sent = co_await Forward(std::exchange(held_, std::string()));
      if (!sent) co_return false;
    }
    if (outcome_ == Outcome::kTunnel) co_return co_await Pump(guest_, upstream_, pool_, up_);
    if (outcome_ != Outcome::kGoOn) co_return co_await RefuseRequest();

    const auto moved = co_await guest_.ReadSome(Chunk(pool_));
    if (moved.status != Stream::Status::kMoved) co_return moved.status == Stream::Status::kEnd;
    auto step = inspector_.FromClient({pool_.scratch().data(), moved.count});
    outcome_ = step.outcome;
    const bool sent = co_await Forward(std::move(step.forward));
    if (!sent) co_return false;
  }
}

Awaitable<bool> Http1Relay::Forward(std::string bytes) {
  if (bytes.empty()) co_return true;
  received_before_ = received();
  co_return co_await Send(std::move(bytes));
}

bool Http1Relay::MayAnswer() {
  const bool answered = received() > received_before_ || sent() == 0;
  return answered && down_.held == 0 && !upstream_.HasInput();
}

Awaitable<bool> Http1Relay::RefuseRequest() {
  const bool answer = MayAnswer();
  std::string response = refuse_(outcome_);
  if (!answer) co_return false;
  co_await Farewell(std::move(response));
  co_return true;
}

Awaitable<bool> Http1Relay::Down() {
  const bool answered = co_await FollowUpgrade();
  if (!answered) Abort();  // Up has nothing to wait for any more
  answered_.NotifyAll();
  if (!answered) co_return false;
  co_return co_await Pump(upstream_, guest_, pool_, down_);
}

Awaitable<bool> Http1Relay::FollowUpgrade() {
  // Only the answer to an upgrade is looked at, and only a connection's first request may ask.
  while (inspector_.wants_response()) {
    const auto moved = co_await upstream_.ReadSome(Chunk(pool_));
    if (moved.status != Stream::Status::kMoved) co_return false;
    std::string bytes(pool_.scratch().data(), moved.count);
    auto step = inspector_.FromServer(bytes);
    const bool written = co_await guest_.WriteAll(std::move(bytes));
    if (!written) co_return false;
    down_.moved += moved.count;
    if (step.outcome != Outcome::kGoOn) outcome_ = step.outcome;
    held_ += step.forward;
  }
  co_return true;
}

Http2Relay::Http2Relay(Stream& guest, Stream& upstream, PipePool& pool,
                       wire::Http2Inspector& inspector, std::string first, Refuse refuse)
    : Relay(guest, upstream, pool, std::move(first)),
      inspector_(inspector),
      refuse_(std::move(refuse)),
      boundary_(guest.executor()) {}

Awaitable<bool> Http2Relay::Up() {
  const bool first = co_await SendFirst();
  if (!first) co_return false;
  for (;;) {
    const auto moved = co_await guest_.ReadSome(Chunk(pool_));
    if (moved.status != Stream::Status::kMoved) co_return moved.status == Stream::Status::kEnd;
    auto step = inspector_.FromClient({pool_.scratch().data(), moved.count});
    if (!step.forward.empty()) {
      const bool sent = co_await Send(std::move(step.forward));
      if (!sent) co_return false;
    }
    if (step.outcome != Outcome::kGoOn) co_return co_await RefuseRequest(step.outcome);
  }
}

Awaitable<bool> Http2Relay::RefuseRequest(Outcome outcome) {
  refusing_ = true;
  std::string frames = refuse_(outcome);
  const auto deadline = Stream::Clock::now() + kBoundaryTime;
  while (guest_.open() && (writing_ || !inspector_.at_server_boundary())) {
    const bool in_time = co_await boundary_.WaitUntil(deadline);
    if (!in_time) co_return false;
  }
  co_await Farewell(std::move(frames));
  co_return true;
}

size_t Http2Relay::Follow(std::string_view bytes) {
  if (!refusing_) {
    inspector_.FromServer(bytes);
    return bytes.size();
  }
  size_t count = 0;
  while (count < bytes.size() && !inspector_.at_server_boundary()) {
    inspector_.FromServer(bytes.substr(count, 1));
    ++count;
  }
  return count;
}

Awaitable<bool> Http2Relay::Down() {
  for (;;) {
    if (refusing_ && inspector_.at_server_boundary()) {
      // Farewell closes the streams.
      boundary_.NotifyAll();
      const auto broken = co_await upstream_.Ready(Stream::Wait::wait_error);
      (void)broken;
      co_return false;
    }
    const auto moved = co_await upstream_.ReadSome(Chunk(pool_));
    if (moved.status != Stream::Status::kMoved) co_return moved.status == Stream::Status::kEnd;
    const size_t count = Follow({pool_.scratch().data(), moved.count});
    writing_ = true;
    const bool written = co_await guest_.WriteAll(std::string(pool_.scratch().data(), count));
    writing_ = false;
    if (!written) co_return false;
    down_.moved += count;
  }
}

}  // namespace cleanroom::doors
