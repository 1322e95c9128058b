#include "cli/terminal/stdio.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <string>

#include "cli/terminal/terminal.h"

namespace cleanroom::cli {
namespace {

// How soon a terminal is looked at again while we are in its background. Coming to the foreground
// tells us nothing when we were not stopped.
constexpr std::chrono::milliseconds kBackgroundPoll{250};

bool ReadyNow(int fd, short events) {
  pollfd item = {.fd = fd, .events = events, .revents = 0};
  return poll(&item, 1, 0) > 0;
}

// None where the descriptor is neither a pipe nor a terminal, or one that we may not open (another
// user's).
os::UniqueFd OpenAgain(int fd) {
  struct stat info = {};
  if (fstat(fd, &info) != 0 || (!S_ISFIFO(info.st_mode) && isatty(fd) != 1)) return {};
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return os::UniqueFd(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

class Readiness {
 public:
  // Null when the descriptor cannot be watched.
  static std::unique_ptr<Readiness> Create(const asio::any_io_executor& executor, int fd,
                                           uint32_t events) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return nullptr;
    epoll_event event = {.events = events, .data = {.fd = fd}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
      close(epoll);
      return nullptr;
    }
    return std::unique_ptr<Readiness>(new Readiness(executor, epoll));
  }

  // False when the task was cancelled. The event loop may tell of what it saw a while ago, and
  // others have the same stream: whoever would block must look once more (ReadyNow).
  Awaitable<bool> Wait() {
    auto [error] =
        co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    co_return !error;
  }

 private:
  Readiness(const asio::any_io_executor& executor, int epoll) : descriptor_(executor, epoll) {}
  asio::posix::stream_descriptor descriptor_;
};

Input::Input(asio::any_io_executor executor, int fd)
    : fd_(fd),
      is_terminal_(isatty(fd) == 1),
      readiness_(Readiness::Create(executor, fd, EPOLLIN)) {}
Input::~Input() = default;

Awaitable<Result<size_t>> Input::Read(std::span<char> buffer) {
  for (;;) {
    if (readiness_ != nullptr && !ReadyNow(fd_, POLLIN)) {
      const bool ready = co_await readiness_->Wait();
      if (!ready) co_return Err(ErrorCode::kCanceled, "reading was cancelled");
      continue;
    }
    // Reading a terminal from its background would stop us (SIGTTIN).
    if (is_terminal_ && !IsForeground(fd_)) {
      auto slept = co_await SleepFor(kBackgroundPoll);
      if (!slept) co_return Err(std::move(slept).error());
      continue;
    }
    const ssize_t n = read(fd_, buffer.data(), buffer.size());
    if (n >= 0) co_return static_cast<size_t>(n);
    if (errno == EINTR || errno == EAGAIN) continue;
    // What a terminal says once it is gone.
    if (errno == EIO && is_terminal_) co_return size_t{0};
    co_return ErrErrno(ErrorCode::kInternal, "reading standard input");
  }
}

Output::Output(asio::any_io_executor executor, int fd)
    : fd_(fd), own_(OpenAgain(fd)), readiness_(Readiness::Create(executor, fd, EPOLLOUT)) {}
Output::~Output() = default;

Awaitable<Result<void>> Output::Write(std::string_view data) {
  while (!data.empty()) {
    if (readiness_ != nullptr && !ReadyNow(fd_, POLLOUT)) {
      const bool ready = co_await readiness_->Wait();
      if (!ready) co_return Err(ErrorCode::kCanceled, "writing was cancelled");
      continue;
    }
    const ssize_t n = WriteSome(data);
    if (n >= 0) {
      data.remove_prefix(static_cast<size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
      const int reason = errno;
      const ErrorCode code = reason == EPIPE    ? ErrorCode::kUnavailable
                             : reason == ENOSPC ? ErrorCode::kResourceExhausted
                                                : ErrorCode::kInternal;
      co_return Err(Error::FromErrno(code, reason, "writing the output")
                        .Remedy("Send the output elsewhere, or make room where it goes"));
    }
  }
  co_return Result<void>();
}

ssize_t Output::WriteSome(std::string_view data) {
  if (own_) return write(own_.get(), data.data(), data.size());
  // What is ready, were it a pipe, takes PIPE_BUF bytes without blocking; of more we know nothing.
  const size_t size = readiness_ != nullptr ? std::min<size_t>(data.size(), PIPE_BUF) : data.size();
  return write(fd_, data.data(), size);
}

}  // namespace cleanroom::cli
