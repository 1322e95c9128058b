#include "doors/tcp/opening.h"

#include <algorithm>
#include <array>

namespace cleanroom::doors {
namespace {

// Reads into a buffer that lives only for the call, so that a waiting coroutine does not hold it.
Stream::Moved ReadInto(Stream& guest, wire::Sniffer& sniffer, wire::Sniffed& sniffed) {
  std::array<char, 16 << 10> buffer;
  const Stream::Moved moved = guest.Read(buffer);
  if (moved.status == Stream::Status::kMoved) {
    sniffed = sniffer.Feed({buffer.data(), moved.count});
  }
  return moved;
}

}  // namespace

Awaitable<Opening::Heard> Opening::Listen(Stream& guest, Clock::time_point quiet_until,
                                          std::chrono::milliseconds limit) {
  using Kind = wire::Sniffed::Kind;
  for (;;) {
    if (sniffed_.kind != Kind::kNeedMore) co_return Heard::kKnown;
    const bool first = empty();
    const Stream::Moved moved = ReadInto(guest, sniffer_, sniffed_);
    switch (moved.status) {
      case Stream::Status::kMoved:
        if (first) first_at_ = Clock::now();
        continue;
      case Stream::Status::kFailed:
        co_return Heard::kBroken;
      case Stream::Status::kEnd:
        sniffed_.kind = empty() ? Kind::kOpaque : Kind::kMalformed;
        if (!empty()) sniffed_.problem = "ended within its first message";
        co_return Heard::kKnown;
      case Stream::Status::kWouldBlock:
        break;
    }
    const auto until = empty() ? quiet_until : first_at_ + limit;
    const auto ready = co_await guest.ReadyBy(Stream::Wait::wait_read, until);
    if (ready) continue;
    if (ready.error().code() != ErrorCode::kDeadlineExceeded) co_return Heard::kBroken;
    co_return empty() ? Heard::kSilent : Heard::kPartly;
  }
}

}  // namespace cleanroom::doors
