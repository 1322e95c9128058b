#include "doors/flow/pump.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace cleanroom::doors {
namespace {

// After so many bytes at a stretch other connections get their turn.
constexpr size_t kTurn = 1 << 20;

// Holds the pipe of one direction; gives it back when empty, or when the direction ends.
class Held {
 public:
  Held(PipePool& pool, Progress& progress) : pool_(pool), progress_(progress) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    Release();
    progress_.held = 0;
  }

  bool Take() {
    if (!pipe_.read.valid()) pipe_ = pool_.Take();
    return pipe_.read.valid();
  }
  void Release() {
    if (pipe_.read.valid()) pool_.Return(std::exchange(pipe_, Pipe()), progress_.held);
  }
  const Pipe& pipe() const { return pipe_; }

 private:
  PipePool& pool_;
  Progress& progress_;
  Pipe pipe_;
};

Stream::Moved FromResult(ssize_t n) {
  if (n > 0) return {Stream::Status::kMoved, static_cast<size_t>(n)};
  if (n == 0) return {Stream::Status::kEnd, 0};
  return {Stream::WouldBlock() ? Stream::Status::kWouldBlock : Stream::Status::kFailed, 0};
}

Stream::Moved Fill(Stream& from, const Pipe& pipe) {
  if (!from.open()) return {};
  return FromResult(splice(from.fd(), nullptr, pipe.write.get(), nullptr, pipe.capacity,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

Stream::Moved Empty(const Pipe& pipe, Stream& to, size_t held) {
  if (!to.open()) return {};
  return FromResult(
      splice(pipe.read.get(), nullptr, to.fd(), nullptr, held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

struct Copied {
  Stream::Status status;  // kWouldBlock: of the side that `blocked` names
  size_t count = 0;
  bool writer_blocked = false;
};

// Copies what the destination takes and only then removes it from the source.
Copied CopyOnce(Stream& from, Stream& to, PipePool& pool) {
  if (!from.open() || !to.open()) return {Stream::Status::kFailed};
  auto& buffer = pool.scratch();
  const ssize_t n = recv(from.fd(), buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
  if (n == 0) return {Stream::Status::kEnd};
  if (n < 0) return {Stream::WouldBlock() ? Stream::Status::kWouldBlock : Stream::Status::kFailed};
  const auto sent = to.Write({buffer.data(), static_cast<size_t>(n)});
  if (sent.status != Stream::Status::kMoved) return {sent.status, 0, true};
  size_t removed = 0;
  while (removed < sent.count) {
    const ssize_t m = recv(from.fd(), buffer.data(), sent.count - removed, MSG_DONTWAIT);
    if (m <= 0) return {Stream::Status::kFailed};
    removed += static_cast<size_t>(m);
  }
  return {Stream::Status::kMoved, sent.count};
}

}  // namespace

Pipe PipePool::Take() {
  if (in_use_ >= kBudget) return {};
  const size_t wanted = in_use_ < kLargeBudget    ? kLargePipe
                        : in_use_ < kMediumBudget ? kMediumPipe
                                                  : kSmallPipe;
  Pipe pipe;
  if (!spare_.empty()) {
    pipe = std::move(spare_.back());
    spare_.pop_back();
  } else {
    int fds[2];
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return {};
    pipe.read.reset(fds[0]);
    pipe.write.reset(fds[1]);
  }
  if (pipe.capacity != wanted) {
    // Beyond the user's share of pipe pages the kernel refuses, or gave less from the start.
    const int got = fcntl(pipe.write.get(), F_SETPIPE_SZ, static_cast<int>(wanted));
    const int size = got > 0 ? got : fcntl(pipe.write.get(), F_GETPIPE_SZ);
    if (size <= 0) return {};
    pipe.capacity = static_cast<size_t>(size);
  }
  in_use_ += pipe.capacity;
  return pipe;
}

void PipePool::Return(Pipe pipe, size_t held) {
  in_use_ -= pipe.capacity;
  if (held == 0 && spare_.size() < kSpare) spare_.push_back(std::move(pipe));
}

Awaitable<bool> Pump(Stream& from, Stream& to, PipePool& pool, Progress& progress) {
  using Status = Stream::Status;
  Held held(pool, progress);
  size_t turn = 0;
  bool wait_for_input = true;
  for (;;) {
    if (wait_for_input) {
      held.Release();
      const auto ready = co_await from.Ready(Stream::Wait::wait_read);
      if (!ready) co_return false;
      wait_for_input = false;
      turn = 0;
    }
    if (!held.Take()) {
      const Copied copied = CopyOnce(from, to, pool);
      if (copied.status == Status::kEnd) co_return true;
      if (copied.status == Status::kFailed) co_return false;
      progress.moved += copied.count;
      turn += copied.count;
      if (copied.status == Status::kWouldBlock && copied.writer_blocked) {
        const auto ready = co_await to.Ready(Stream::Wait::wait_write);
        if (!ready) co_return false;
      } else if (copied.status == Status::kWouldBlock) {
        wait_for_input = true;
      }
    } else {
      const Stream::Moved in = Fill(from, held.pipe());
      if (in.status == Status::kEnd) co_return true;
      if (in.status == Status::kFailed) co_return false;
      if (in.status == Status::kWouldBlock) wait_for_input = true;
      progress.held = in.count;
      while (progress.held > 0) {
        const Stream::Moved out = Empty(held.pipe(), to, progress.held);
        if (out.status == Status::kMoved) {
          progress.held -= out.count;
          progress.moved += out.count;
          turn += out.count;
          continue;
        }
        if (out.status != Status::kWouldBlock) co_return false;
        const auto ready = co_await to.Ready(Stream::Wait::wait_write);
        if (!ready) co_return false;
      }
    }
    if (turn >= kTurn) {
      turn = 0;
      co_await asio::post(asio::use_awaitable);
    }
  }
}

}  // namespace cleanroom::doors
