#include "guest/exec/reaper.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cleanroom::guest {

Result<std::unique_ptr<Reaper>> Reaper::Create(asio::any_io_executor executor) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  if (pthread_sigmask(SIG_BLOCK, &wanted, nullptr) != 0) {
    return Err(ErrorCode::kInternal, "block SIGCHLD");
  }
  const int fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return ErrErrno(ErrorCode::kInternal, "signalfd");
  return std::unique_ptr<Reaper>(new Reaper(std::move(executor), fd));
}

Reaper::Reaper(asio::any_io_executor executor, int signal_fd)
    : signals_(executor, signal_fd), collected_(executor) {}

Reaper::Child::Child(Reaper& reaper, pid_t pid, Notifier& notify)
    : reaper_(reaper), pid_(pid), notify_(notify) {
  reaper_.children_.emplace(pid, this);
}

Reaper::Child::~Child() {
  if (!status_) reaper_.children_.erase(pid_);
}

Awaitable<void> Reaper::Run() {
  for (;;) {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
    Collect();
    auto [error] = co_await signals_.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) co_return;
  }
}

bool Reaper::HasChildren() {
  siginfo_t info = {};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void Reaper::Collect() {
  // Signals coalesce: what one says is only that there is something to collect.
  signalfd_siginfo info[16];
  while (read(signals_.native_handle(), info, sizeof info) > 0) {
  }
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto found = children_.find(pid);
    if (found == children_.end()) continue;
    Child* const child = found->second;
    children_.erase(found);
    child->status_ = status;
    child->notify_.NotifyAll();
  }
  collected_.NotifyAll();
}

}  // namespace cleanroom::guest
