#include "doors/flow/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace cleanroom::doors {
namespace {

constexpr int kKeepaliveIdleSeconds = 60;
constexpr int kKeepaliveIntervalSeconds = 15;
constexpr int kKeepaliveProbes = 4;

void SetOption(int fd, int level, int name, int value) {
  // Each only tunes: a socket that does not take it still works.
  (void)setsockopt(fd, level, name, &value, sizeof value);
}

}  // namespace

bool Stream::WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

Stream::Stream(const asio::any_io_executor& executor, os::UniqueFd fd) : descriptor_(executor) {
  SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  SetOption(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  SetOption(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
  boost::system::error_code error;
  descriptor_.assign(fd.get(), error);
  if (!error) (void)fd.release();
}

Awaitable<Result<void>> Stream::Ready(Wait what) {
  const auto state = co_await asio::this_coro::cancellation_state;
  if (!open() || state.cancelled() != asio::cancellation_type::none) {
    co_return Err(ErrorCode::kCanceled, "the connection was closed");
  }
  auto [error] = co_await descriptor_.async_wait(what, kAwait);
  if (error || !open()) co_return Err(ErrorCode::kCanceled, "the connection was closed");
  co_return Result<void>();
}

Awaitable<Result<void>> Stream::ReadyBy(Wait what, Clock::time_point deadline) {
  const auto state = co_await asio::this_coro::cancellation_state;
  if (!open() || state.cancelled() != asio::cancellation_type::none) {
    co_return Err(ErrorCode::kCanceled, "the connection was closed");
  }
  if (what == Wait::wait_read && HasInput()) co_return Result<void>();
  auto ready = WithDeadline(Ready(what), deadline, "waiting for the connection");
  co_return co_await std::move(ready);
}

Stream::Moved Stream::Read(std::span<char> into) {
  if (!open()) return {Status::kFailed, 0};
  const ssize_t n = recv(fd(), into.data(), into.size(), MSG_DONTWAIT);
  if (n > 0) return {Status::kMoved, static_cast<size_t>(n)};
  if (n == 0) return {Status::kEnd, 0};
  return {WouldBlock() ? Status::kWouldBlock : Status::kFailed, 0};
}

Stream::Moved Stream::Write(std::string_view bytes) {
  if (!open()) return {Status::kFailed, 0};
  const ssize_t n = send(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return {Status::kMoved, static_cast<size_t>(n)};
  return {WouldBlock() ? Status::kWouldBlock : Status::kFailed, 0};
}

Awaitable<Stream::Moved> Stream::ReadSome(std::span<char> into) {
  for (;;) {
    const Moved moved = Read(into);
    if (moved.status != Status::kWouldBlock) co_return moved;
    const auto ready = co_await Ready(Wait::wait_read);
    if (!ready) co_return Moved();
  }
}

bool Stream::HasInput() {
  if (!open()) return false;
  pollfd watched{fd(), POLLIN, 0};
  return poll(&watched, 1, 0) == 1;
}

bool Stream::HasBytes() {
  char byte = 0;
  return open() && recv(fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
}

Awaitable<bool> Stream::WriteAll(std::string bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const Moved moved = Write(std::string_view(bytes).substr(done));
    if (moved.status == Status::kFailed) co_return false;
    done += moved.count;
    if (moved.status == Status::kWouldBlock) {
      const auto ready = co_await Ready(Wait::wait_write);
      if (!ready) co_return false;
    }
  }
  co_return true;
}

void Stream::FinishWriting() {
  if (open()) (void)shutdown(fd(), SHUT_WR);
}

void Stream::Reset() {
  if (!open()) return;
  const linger now{1, 0};
  (void)setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

void Stream::Close() {
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

Awaitable<void> Stream::CloseAfter(std::string last) {
  // What a refusal sends fits a socket's buffer; a peer that does not read gets what went in.
  (void)Write(last);
  FinishWriting();
  const auto deadline = Clock::now() + kDrainTime;
  std::array<char, 4096> sink;
  size_t drained = 0;
  while (open() && drained < kDrainBytes && Clock::now() < deadline) {
    const Moved moved = Read(sink);
    if (moved.status == Status::kEnd || moved.status == Status::kFailed) break;
    drained += moved.count;
    if (moved.status != Status::kWouldBlock) continue;
    const auto ready = co_await ReadyBy(Wait::wait_read, deadline);
    if (!ready) break;
  }
  Close();
}

}  // namespace cleanroom::doors
