#include "guest/exec/execution.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "guest/exec/terminal.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

using internal::v1::ExecInput;
using internal::v1::ExecOutput;
using internal::v1::ExecStart;
using std::chrono::steady_clock;

// Larger than the default, so that a command and the agent switch less often. A user's limit
// (fs.pipe-user-pages-soft) may refuse it, which costs only speed.
constexpr int kPipeBytes = 256 << 10;
constexpr char kEndOfFile = 4;  // VEOF of a new terminal
constexpr int kLastSignal = 64;

SpawnFailure SystemFailure(std::string_view what) {
  return {126, fmt::format("{}: {}", what, strerror(errno))};
}

bool MakePipe(os::UniqueFd& read_end, os::UniqueFd& write_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  read_end = os::UniqueFd(ends[0]);
  write_end = os::UniqueFd(ends[1]);
  (void)fcntl(ends[0], F_SETPIPE_SZ, kPipeBytes);
  return true;
}

// For the agent's end. Asio, who is told so, would else see to it at each wait.
bool Unblock(asio::posix::stream_descriptor& descriptor) {
  boost::system::error_code error;
  descriptor.non_blocking(true, error);
  return !error;
}

}  // namespace

// Shared with the handlers of pending waits, which run after a descriptor has been closed.
struct Execution::Wakeup {
  explicit Wakeup(asio::any_io_executor executor) : notifier(std::move(executor)) {}
  Notifier notifier;
};

// One output stream of the command.
struct Execution::Stream {
  struct Readiness {
    bool waiting = false;
    bool ready = true;  // worth a read
  };

  Stream(const asio::any_io_executor& executor, os::UniqueFd fd)
      : descriptor(executor, fd.release()) {}

  // Sees to it that the wakeup is notified when there is something to read.
  void Arm(const std::shared_ptr<Wakeup>& wakeup) {
    if (!descriptor.is_open() || readiness->waiting || readiness->ready) return;
    readiness->waiting = true;
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [wakeup, state = readiness](const boost::system::error_code& error) {
                            state->waiting = false;
                            if (!error) state->ready = true;
                            wakeup->notifier.NotifyAll();
                          });
  }

  // 0: nothing now, or the end, at which the descriptor is closed.
  size_t Read(char* buffer, size_t size) {
    while (descriptor.is_open() && readiness->ready) {
      const ssize_t n = read(descriptor.native_handle(), buffer, size);
      if (n > 0) {
        due -= std::min(due, static_cast<size_t>(n));
        return static_cast<size_t>(n);
      }
      if (n < 0 && errno == EINTR) continue;
      // A terminal says EIO when nobody has it open any more. With several processors it may say
      // so although the last writer has just written: Linux 6.1 looks for bytes first and then for
      // whether it is closed (n_tty_read). The bytes are there at the next read.
      if (n < 0 && errno == EIO && !std::exchange(closed_once, true)) continue;
      readiness->ready = false;
      due = 0;
      if (n == 0 || errno != EAGAIN) Close();
    }
    return 0;
  }

  void Close() {
    boost::system::error_code ignored;
    descriptor.close(ignored);
    due = 0;
  }

  // How much lies in it now must be delivered.
  void NoteDue() {
    int waiting = 0;
    if (!descriptor.is_open()) return;
    readiness->ready = true;
    if (ioctl(descriptor.native_handle(), FIONREAD, &waiting) == 0 && waiting > 0) {
      due = static_cast<size_t>(waiting);
    }
  }

  asio::posix::stream_descriptor descriptor;
  std::shared_ptr<Readiness> readiness = std::make_shared<Readiness>();
  size_t due = 0;
  bool closed_once = false;  // a terminal's EIO was seen
};

Execution::Execution(asio::any_io_executor executor, Reaper& reaper, CgroupTree& cgroups,
                     Accounts& accounts)
    : executor_(executor),
      reaper_(reaper),
      cgroups_(cgroups),
      accounts_(accounts),
      wakeup_(std::make_shared<Wakeup>(executor)),
      input_(executor) {}

Execution::~Execution() = default;

Awaitable<Result<void>> Execution::Run(const Root& root, const CommandDefaults& defaults,
                                       const char* ptmx_path, ExecStart start, In& in, Out& out) {
  const auto running = Start(root, defaults, ptmx_path, start);
  if (!running) {
    cgroups_.Remove(std::move(group_));
    ExecOutput message;
    message.mutable_exit()->set_exit_code(running.error().exit_code);
    message.mutable_exit()->set_message(running.error().message);
    auto written = co_await out.Write(message);
    co_return written;
  }
  auto ended = co_await Converse(in, out);
  input_.Cancel();
  co_await input_.Join();
  if (ended) {
    ended = co_await out.Write(ExitMessage());
  } else {
    KillEverything();
  }
  cgroups_.Remove(std::move(group_));
  co_return ended;
}

std::expected<void, SpawnFailure> Execution::Start(const Root& root,
                                                   const CommandDefaults& defaults,
                                                   const char* ptmx_path, const ExecStart& start) {
  auto request = PrepareCommand(root, accounts_, defaults, start);
  if (!request) return std::unexpected(std::move(request).error());
  auto opened = start.tty() ? OpenTerminalFor(*request, start, ptmx_path)
                            : OpenPipes(*request, start.stdin());
  if (!opened) return opened;
  group_ = cgroups_.Create();
  request->cgroup_fd = group_.fd();
  const auto pid = Spawn(*request);
  for (os::UniqueFd& fd : child_fds_) fd.reset();
  if (!pid) return std::unexpected(pid.error());
  child_.emplace(reaper_, *pid, wakeup_->notifier);
  chunk_.resize(kOutputChunkBytes);
  return {};
}

std::expected<void, SpawnFailure> Execution::OpenPipes(SpawnRequest& request, bool with_stdin) {
  os::UniqueFd in, out, err;
  if (with_stdin) {
    if (!MakePipe(child_fds_[0], in)) return std::unexpected(SystemFailure("pipe"));
    stdin_.emplace(executor_, in.release());
    if (!Unblock(*stdin_)) return std::unexpected(SystemFailure("pipe"));
  } else {
    child_fds_[0] = os::UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!child_fds_[0]) return std::unexpected(SystemFailure("open /dev/null"));
  }
  if (!MakePipe(out, child_fds_[1]) || !MakePipe(err, child_fds_[2])) {
    return std::unexpected(SystemFailure("pipe"));
  }
  // So that /dev/stdout can be opened by name, also by a command that is not root.
  if (request.change_user && request.user.uid != 0) {
    for (const os::UniqueFd& fd : child_fds_) {
      (void)!fchown(fd.get(), request.user.uid, request.user.gid);
    }
  }
  stdout_ = std::make_unique<Stream>(executor_, std::move(out));
  stderr_ = std::make_unique<Stream>(executor_, std::move(err));
  if (!Unblock(stdout_->descriptor) || !Unblock(stderr_->descriptor))
    return std::unexpected(SystemFailure("pipe"));
  request.stdin_fd = child_fds_[0].get();
  request.stdout_fd = child_fds_[1].get();
  request.stderr_fd = child_fds_[2].get();
  return {};
}

std::expected<void, SpawnFailure> Execution::OpenTerminalFor(SpawnRequest& request,
                                                             const ExecStart& start,
                                                             const char* ptmx_path) {
  auto terminal =
      OpenTerminal(ptmx_path, request.user.uid,
                   {.rows = start.window().rows(), .columns = start.window().columns()});
  if (!terminal) return std::unexpected(SpawnFailure{126, terminal.error().message()});
  // A descriptor for each direction, so that closing one leaves the other.
  os::UniqueFd writer(fcntl(terminal->master.get(), F_DUPFD_CLOEXEC, 0));
  if (!writer) return std::unexpected(SystemFailure("duplicate the terminal"));
  terminal_ = true;
  stdin_.emplace(executor_, writer.release());
  stdout_ = std::make_unique<Stream>(executor_, std::move(terminal->master));
  if (!Unblock(*stdin_) || !Unblock(stdout_->descriptor))
    return std::unexpected(SystemFailure("the terminal"));
  child_fds_[0] = std::move(terminal->slave);
  request.stdin_fd = request.stdout_fd = request.stderr_fd = child_fds_[0].get();
  request.controlling_terminal = true;
  return {};
}

Awaitable<Result<void>> Execution::Converse(In& in, Out& out) {
  ExecOutput started;
  started.mutable_started()->set_pid(child_->pid());
  auto written = co_await out.Write(started);
  if (!written) co_return written;
  input_.Spawn(PumpInput(in));
  auto ended = co_await PumpOutput(out);
  co_return ended;
}

Awaitable<void> Execution::PumpInput(In& in) {
  for (;;) {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
    auto next = co_await in.Next();
    if (!next) {
      input_error_ = std::move(next).error();
      wakeup_->notifier.NotifyAll();
      co_return;
    }
    if (!*next) {
      co_await CloseStdin();
      co_return;
    }
    co_await Take(**next);
  }
}

Awaitable<void> Execution::Take(const ExecInput& input) {
  switch (input.input_case()) {
    case ExecInput::kStdin:
      co_await WriteStdin(input.stdin());
      break;
    case ExecInput::kCloseStdin:
      if (input.close_stdin()) co_await CloseStdin();
      break;
    case ExecInput::kResize:
    case ExecInput::kSignal:
      Control(input);
      break;
    case ExecInput::kStart:
    case ExecInput::INPUT_NOT_SET:
      break;
  }
}

void Execution::Control(const ExecInput& input) {
  if (input.has_resize() && terminal_ && stdin_) {
    Resize(stdin_->native_handle(),
           {.rows = input.resize().rows(), .columns = input.resize().columns()});
  }
  // Not once it is reaped: its number may be another's by then.
  if (input.has_signal() && child_ && !child_->status() && input.signal() > 0 &&
      input.signal() <= kLastSignal) {
    (void)kill(-child_->pid(), input.signal());
  }
}

Awaitable<void> Execution::WriteStdin(const std::string& data) {
  size_t done = 0;
  while (stdin_ && done < data.size()) {
    const ssize_t n = write(stdin_->native_handle(), data.data() + done, data.size() - done);
    if (n >= 0) {
      done += static_cast<size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      // Nobody reads it any more. What else comes is thrown away, as a shell's pipe would.
      stdin_.reset();
      co_return;
    }
    // A cancellation ends only waits that have begun.
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return;
    auto [error] = co_await stdin_->async_wait(asio::posix::stream_descriptor::wait_write, kAwait);
    if (error) co_return;
  }
}

Awaitable<void> Execution::CloseStdin() {
  if (terminal_) {
    // The terminal stays: it is also the command's output, and can still be resized.
    co_await WriteStdin(std::string(1, kEndOfFile));
  } else {
    stdin_.reset();
  }
}

Awaitable<Result<void>> Execution::PumpOutput(Out& out) {
  for (;;) {
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "the execution was cancelled");
    if (input_error_) co_return Err(*input_error_);
    NoteExit();
    auto from_stdout = co_await SendChunk(*stdout_, false, out);
    if (!from_stdout) co_return Err(std::move(from_stdout).error());
    bool moved = *from_stdout;
    if (stderr_) {
      auto from_stderr = co_await SendChunk(*stderr_, true, out);
      if (!from_stderr) co_return Err(std::move(from_stderr).error());
      moved = moved || *from_stderr;
    }
    if (moved && quiet_at_) quiet_at_ = steady_clock::now() + kQuiet;
    if (OutputEnded()) co_return Result<void>();
    if (moved) continue;
    stdout_->Arm(wakeup_);
    if (stderr_) stderr_->Arm(wakeup_);
    if (!quiet_at_ && child_->status()) continue;
    steady_clock::time_point until = steady_clock::time_point::max();
    if (quiet_at_) until = std::min(*quiet_at_, linger_until_);
    co_await wakeup_->notifier.WaitUntil(until);
  }
}

Awaitable<Result<bool>> Execution::SendChunk(Stream& stream, bool is_stderr, Out& out) {
  const size_t n = stream.Read(chunk_.data(), chunk_.size());
  if (n == 0) co_return false;
  std::string& bytes = is_stderr ? *message_.mutable_stderr() : *message_.mutable_stdout();
  const bool full = n == chunk_.size();
  if (full) {
    bytes.swap(chunk_);
  } else {
    bytes.assign(chunk_, 0, n);
  }
  auto written = co_await out.Write(message_);
  if (full) chunk_.swap(bytes);
  if (!written) co_return Err(std::move(written).error());
  co_return true;
}

void Execution::NoteExit() {
  if (quiet_at_ || !child_->status()) return;
  stdout_->NoteDue();
  if (stderr_) stderr_->NoteDue();
  const auto now = steady_clock::now();
  quiet_at_ = now + kQuiet;
  linger_until_ = now + kLinger;
}

bool Execution::OutputEnded() const {
  if (!quiet_at_) return false;
  const bool all_closed =
      !stdout_->descriptor.is_open() && (!stderr_ || !stderr_->descriptor.is_open());
  if (all_closed) return true;
  const bool all_sent = stdout_->due == 0 && (!stderr_ || stderr_->due == 0);
  const auto now = steady_clock::now();
  return all_sent && (now >= *quiet_at_ || now >= linger_until_);
}

void Execution::KillEverything() {
  group_.Kill();
  if (!child_->status()) (void)kill(-child_->pid(), SIGKILL);
}

ExecOutput Execution::ExitMessage() const {
  ExecOutput message;
  auto* const exit = message.mutable_exit();
  const int status = *child_->status();
  if (WIFSIGNALED(status)) {
    exit->set_signal(WTERMSIG(status));
    exit->set_exit_code(128 + WTERMSIG(status));
  } else {
    exit->set_exit_code(WEXITSTATUS(status));
  }
  return message;
}

}  // namespace cleanroom::guest
