// Run(): feeds and drains a helper command's pipes until it has ended.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "os/file.h"
#include "os/process.h"

namespace cleanroom::os {
namespace {

using std::chrono::steady_clock;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe() {
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC) != 0) return ErrErrno(ErrorCode::kResourceExhausted, "pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// Reads what is there; closes the descriptor at its end.
void Drain(UniqueFd* fd, std::string* into, size_t max) {
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = read(fd->get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      fd->reset();
      return;
    }
    into->append(buffer.data(), std::min(static_cast<size_t>(n), max - into->size()));
  }
}

// Writes what fits; closes the descriptor when everything is written or nobody reads.
void Feed(UniqueFd* fd, std::string_view* input) {
  while (!input->empty()) {
    const ssize_t n = write(fd->get(), input->data(), input->size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) break;
    input->remove_prefix(static_cast<size_t>(n));
  }
  fd->reset();
}

// Keeps a write to a closed pipe from raising SIGPIPE in this thread.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before_);
  }
  ~SigpipeBlocked() {
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    const timespec at_once{};
    if (sigismember(&before_, SIGPIPE) == 0) sigtimedwait(&pipe_signal, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Result<Output> Run(const std::vector<std::string>& argv, const RunOptions& options) {
  const SigpipeBlocked no_sigpipe;
  CR_TRY_ASSIGN(Pipe in, MakePipe());
  CR_TRY_ASSIGN(Pipe out, MakePipe());
  CR_TRY_ASSIGN(Pipe err, MakePipe());
  SpawnOptions spawn = options.spawn;
  spawn.fds.push_back({0, in.read.get()});
  spawn.fds.push_back({1, out.write.get()});
  spawn.fds.push_back({2, err.write.get()});
  const auto deadline = steady_clock::now() + options.timeout;
  CR_TRY_ASSIGN(Process process, Process::Spawn(argv, spawn));
  in.read.reset();
  out.write.reset();
  err.write.reset();
  SetNonBlocking(in.write.get());
  SetNonBlocking(out.read.get());
  SetNonBlocking(err.read.get());

  Output output;
  std::string_view input = options.input;
  if (input.empty()) in.write.reset();
  // A grandchild may keep the pipes open: the end of the process ends the reading too.
  bool ended = false;
  while (!ended) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0) {
      // Its own children too, where it leads a group of its own.
      if (options.spawn.new_session) kill(-process.pid(), SIGKILL);
      return Err(ErrorCode::kDeadlineExceeded,
                 fmt::format("{} did not end within {} ms", argv[0], options.timeout.count()));
    }
    std::array<pollfd, 4> watched{{{process.pidfd(), POLLIN, 0},
                                   {out.read.get(), POLLIN, 0},
                                   {err.read.get(), POLLIN, 0},
                                   {in.write.get(), POLLOUT, 0}}};
    if (poll(watched.data(), watched.size(), static_cast<int>(std::min<int64_t>(left, 60'000))) <
            0 &&
        errno != EINTR) {
      return ErrErrno(ErrorCode::kInternal, "poll");
    }
    ended = watched[0].revents != 0;
    if (out.read && (ended || watched[1].revents != 0)) {
      Drain(&out.read, &output.out, options.max_output);
    }
    if (err.read && (ended || watched[2].revents != 0)) {
      Drain(&err.read, &output.err, options.max_output);
    }
    if (in.write && watched[3].revents != 0) Feed(&in.write, &input);
  }
  CR_TRY_ASSIGN(output.status, process.Wait());
  return output;
}

}  // namespace cleanroom::os
