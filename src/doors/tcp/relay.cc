#include "doors/tcp/relay.h"

namespace cleanroom::doors {

Relay::Relay(Stream& guest, Stream& upstream, PipePool& pool, std::string first)
    : guest_(guest), upstream_(upstream), pool_(pool), first_(std::move(first)) {}

Awaitable<void> Relay::Run() {
  using boost::asio::experimental::awaitable_operators::operator&&;
  auto both = internal::Quiet(RunUp()) && internal::Quiet(RunDown());
  co_await std::move(both);
  guest_.Close();
  upstream_.Close();
}

Awaitable<void> Relay::RunUp() {
  const bool ended = co_await Up();
  co_await Finish(ended, guest_, upstream_);
}

Awaitable<void> Relay::RunDown() {
  const bool ended = co_await Down();
  co_await Finish(ended, upstream_, guest_);
}

Awaitable<void> Relay::Finish(bool ended, Stream& from, Stream& to) {
  if (farewell_) co_return;
  if (!ended) {
    Abort();
    co_return;
  }
  to.FinishWriting();
  if (++finished_ == 2) {
    guest_.Close();
    upstream_.Close();
    co_return;
  }
  // The other direction goes on, perhaps for long: a reset from here must end it.
  const auto broken = co_await from.Ready(Stream::Wait::wait_error);
  if (broken) Abort();
}

void Relay::Abort() {
  guest_.Reset();
  upstream_.Reset();
}

Awaitable<bool> Relay::Up() {
  const bool sent = co_await SendFirst();
  if (!sent) co_return false;
  co_return co_await Pump(guest_, upstream_, pool_, up_);
}

Awaitable<bool> Relay::Down() { co_return co_await Pump(upstream_, guest_, pool_, down_); }

Awaitable<bool> Relay::SendFirst() {
  if (first_.empty()) co_return true;
  co_return co_await Send(std::exchange(first_, std::string()));
}

Awaitable<bool> Relay::Send(std::string bytes) {
  const size_t size = bytes.size();
  const bool sent = co_await upstream_.WriteAll(std::move(bytes));
  if (sent) up_.moved += size;
  co_return sent;
}

Awaitable<void> Relay::Farewell(std::string message) {
  farewell_ = true;
  upstream_.Reset();
  co_await guest_.CloseAfter(std::move(message));
}

GatedRelay::GatedRelay(Stream& guest, Stream& upstream, PipePool& pool, Admit admit)
    : Relay(guest, upstream, pool, ""), admit_(std::move(admit)) {}

Awaitable<bool> GatedRelay::Up() {
  // The guest may be silent for as long as it likes, but not in the middle of a hello.
  const auto heard =
      co_await opening_.Listen(guest_, Opening::Clock::time_point::max(), Opening::kTimeLimit);
  if (heard != Opening::Heard::kKnown || !admit_(opening_.sniffed())) co_return false;
  const bool sent = co_await Send(opening_.Take());
  if (!sent) co_return false;
  co_return co_await Pump(guest_, upstream_, pool_, up_);
}

}  // namespace cleanroom::doors
