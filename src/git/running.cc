#include "git/running.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/printable.h"
#include "git/environment.h"
#include "os/file.h"

namespace cleanroom::git {
namespace {

using std::chrono::steady_clock;

constexpr size_t kMaxComplaint = 4096;
constexpr size_t kMaxLine = 512;
constexpr uint64_t kMaxMemory = 4ull << 30;
// How often a stop token is looked at while git says nothing.
constexpr int kStopCheckMs = 50;

// Whether this host lets a child have namespaces of its own: found out once.
std::atomic<bool> namespaces_refused = false;

struct Pipe {
  os::UniqueFd read, write;
};

Result<Pipe> MakePipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return ErrErrno(ErrorCode::kResourceExhausted, "pipe");
  return Pipe{os::UniqueFd(fds[0]), os::UniqueFd(fds[1])};
}

// stdin is a file in memory: it needs nobody to feed it.
Result<os::UniqueFd> InputFile(const std::string& input) {
  os::UniqueFd fd(::memfd_create("git-input", MFD_CLOEXEC));
  if (!fd) return ErrErrno(ErrorCode::kResourceExhausted, "memfd_create");
  CR_TRY(os::WriteAll(fd.get(), input, "git's input"));
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return ErrErrno(ErrorCode::kInternal, "lseek");
  return fd;
}

os::SpawnOptions Options(const GitConfig& config, Kind kind, const Command& command) {
  os::SpawnOptions out;
  out.new_session = true;
  out.parent_death_signal = SIGKILL;
  out.no_new_privileges = kind == Kind::kLocal;
  // Instead of the signal that ends its helpers without a word, writes beyond the limit fail.
  out.ignored_signals = {SIGXFSZ};
  out.limits = {{RLIMIT_CORE, 0}, {RLIMIT_FSIZE, command.max_file_bytes}};
  if (kind == Kind::kUpstream) {
    out.env = UpstreamEnvironment(config, command, ::getenv);
    return out;
  }
  out.env = LocalEnvironment(command);
  out.cwd = "/";
  out.limits.push_back({RLIMIT_DATA, kMaxMemory});
  out.limits.push_back({RLIMIT_CPU, static_cast<uint64_t>(command.timeout.count()) * 2 + 10});
  if (!namespaces_refused) out.new_namespaces = os::kChildNamespaces;
  return out;
}

Result<os::Process> Spawn(const std::vector<std::string>& argv, os::SpawnOptions options) {
  Result<os::Process> process = os::Process::Spawn(argv, options);
  if (process || options.new_namespaces == 0) return process;
  const int error = process.error().errno_value();
  if (error != EPERM && error != ENOSPC && error != EINVAL && error != EUSERS) return process;
  // The host forbids user namespaces: what is left is the environment and the limits.
  options.new_namespaces = 0;
  process = os::Process::Spawn(argv, options);
  if (process) namespaces_refused = true;
  return process;
}

Error NoGit(Error error) {
  if (error.code() != ErrorCode::kNotFound) return error;
  return std::move(error)
      .As(ErrorCode::kFailedPrecondition)
      .Remedy("Install git on the machine of cleanroomd, as in: apt-get install git");
}

}  // namespace

bool LocalRunsAreConfined() { return !namespaces_refused; }

Running::Running(os::Process process, os::UniqueFd out, os::UniqueFd err,
                 std::chrono::seconds timeout, Control control)
    : process_(std::move(process)),
      out_(std::move(out)),
      err_(std::move(err)),
      deadline_(steady_clock::now() + timeout),
      timeout_(timeout),
      control_(std::move(control)) {
  for (const int fd : {out_.get(), err_.get()})
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

Result<std::unique_ptr<Running>> Running::Start(const GitConfig& config, Kind kind,
                                                const Command& command, const Control& control) {
  if (control.stop.stop_requested())
    return Err(ErrorCode::kCanceled, "the operation was cancelled");
  CR_TRY_ASSIGN(const os::UniqueFd in, InputFile(command.input));
  CR_TRY_ASSIGN(Pipe out, MakePipe());
  CR_TRY_ASSIGN(Pipe err, MakePipe());
  os::SpawnOptions options = Options(config, kind, command);
  options.fds = {{0, in.get()}, {1, out.write.get()}, {2, err.write.get()}};
  Result<os::Process> process = Spawn(
      kind == Kind::kLocal ? LocalArguments(config, command) : UpstreamArguments(config, command),
      options);
  if (!process) return Err(NoGit(std::move(process).error()));
  return std::unique_ptr<Running>(new Running(std::move(*process), std::move(out.read),
                                              std::move(err.read), command.timeout, control));
}

Running::~Running() { Kill(); }

void Running::Kill() {
  const Result<std::optional<os::ExitStatus>> ended =
      process_.WaitFor(std::chrono::milliseconds(0));
  if (ended && *ended) return;
  // Its helpers too: they are of its process group, or of its process namespace.
  ::kill(-process_.pid(), SIGKILL);
  (void)process_.Kill(SIGKILL);
  (void)process_.Wait();
}

void Running::DrainErrors() {
  std::array<char, 4096> buffer;
  while (err_) {
    const ssize_t n = ::read(err_.get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      err_.reset();
      return;
    }
    for (const char c : std::string_view(buffer.data(), static_cast<size_t>(n))) {
      const bool returned = std::exchange(returned_, c == '\r');
      if (c == '\r' || (c == '\n' && !returned)) {
        if (control_.progress && !line_.empty()) control_.progress(line_);
      }
      if (c == '\r') continue;
      if (c == '\n') {  // ssh ends its lines with both
        complaint_ += line_ + "\n";
        line_.clear();
        continue;
      }
      // Of what ends in a carriage return alone only the last counts: it is progress.
      if (returned) line_.clear();
      if (line_.size() < kMaxLine) line_ += c;
    }
    if (complaint_.size() > 2 * kMaxComplaint)
      complaint_.erase(0, complaint_.size() - kMaxComplaint);
  }
}

std::string Running::Complaint() const {
  std::string text = complaint_ + (returned_ ? std::string() : line_);
  if (text.size() > kMaxComplaint) text.erase(0, text.size() - kMaxComplaint);
  while (text.ends_with('\n')) text.pop_back();
  return EscapeUnprintable(text, "\n");
}

Result<void> Running::WaitForSomething(bool want_output) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - steady_clock::now());
    if (left.count() <= 0) {
      Kill();
      return Err(ErrorCode::kDeadlineExceeded,
                 fmt::format("git did not end within {} s", timeout_.count()));
    }
    if (control_.stop.stop_requested()) {
      Kill();
      return Err(ErrorCode::kCanceled, "the operation was cancelled");
    }
    const int step = control_.stop.stop_possible() ? kStopCheckMs : 1000;
    std::array<pollfd, 3> watched{{{want_output ? out_.get() : -1, POLLIN, 0},
                                   {err_.get(), POLLIN, 0},
                                   {want_output && out_ ? -1 : process_.pidfd(), POLLIN, 0}}};
    const int n = ::poll(watched.data(), watched.size(),
                         static_cast<int>(std::min<int64_t>(left.count(), step)));
    if (n < 0 && errno != EINTR) return ErrErrno(ErrorCode::kInternal, "poll");
    if (n <= 0) continue;
    if (watched[1].revents != 0) DrainErrors();
    if (watched[0].revents != 0 || watched[2].revents != 0) return {};
  }
}

Result<size_t> Running::Read(std::span<uint8_t> buffer) {
  while (out_) {
    const ssize_t n = ::read(out_.get(), buffer.data(), buffer.size());
    if (n > 0) return static_cast<size_t>(n);
    if (n == 0) {
      out_.reset();
      return 0;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return ErrErrno(ErrorCode::kInternal, "read git's output");
    CR_TRY(WaitForSomething(/*want_output=*/true));
  }
  return 0;
}

Result<os::ExitStatus> Running::Finish() {
  out_.reset();
  while (true) {
    CR_TRY_ASSIGN(const std::optional<os::ExitStatus> status,
                  process_.WaitFor(std::chrono::milliseconds(0)));
    if (status) {
      DrainErrors();
      return *status;
    }
    CR_TRY(WaitForSomething(/*want_output=*/false));
  }
}

}  // namespace cleanroom::git
