#include "tests/support/command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace cleanroom::testing {

CommandResult RunScript(const std::string& script) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) std::abort();
  const pid_t child = ::fork();
  if (child < 0) std::abort();
  if (child == 0) {
    ::dup2(pipe_fds[1], 1);
    ::dup2(pipe_fds[1], 2);
    ::execlp("bash", "bash", "-euo", "pipefail", "-c", script.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(pipe_fds[1]);
  CommandResult out;
  char buffer[4096];
  for (ssize_t n; (n = ::read(pipe_fds[0], buffer, sizeof(buffer))) > 0;)
    out.output.append(buffer, static_cast<size_t>(n));
  ::close(pipe_fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

TestFolder::TestFolder() {
  path_ = (std::filesystem::temp_directory_path() / "cleanroom-test.XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) std::abort();
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Background::Background(const std::vector<std::string>& argv, const std::string& mark) {
  std::vector<char*> args;
  args.reserve(argv.size() + 1);
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) std::abort();
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(fds[1], 1);
    ::dup2(fds[1], 2);
    ::execvp(args[0], args.data());
    ::_exit(127);
  }
  ::close(fds[1]);
  fd_ = fds[0];
  std::string log;
  char buffer[4096];
  while (found_.empty()) {
    const ssize_t n = ::read(fd_, buffer, sizeof(buffer));
    if (n <= 0) {
      std::fprintf(stderr, "%s ended: %s\n", args[0], log.c_str());
      std::abort();
    }
    log.append(buffer, static_cast<size_t>(n));
    const size_t at = log.find(mark);
    const size_t end = at == std::string::npos ? at : log.find_first_of("\"\n, ", at + mark.size());
    if (end != std::string::npos) found_ = log.substr(at + mark.size(), end - at - mark.size());
  }
  drain_ = std::thread([fd = fd_] {
    char rest[4096];
    while (::read(fd, rest, sizeof(rest)) > 0) {
    }
  });
}

Background::~Background() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  drain_.join();
  ::close(fd_);
}

}  // namespace cleanroom::testing
