#include "tests/support/docker_registry.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace cleanroom::testing {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "docker registry for the test: %s\n", why.c_str());
  std::abort();
}

}  // namespace

DockerRegistry::DockerRegistry(const std::string& extra_config) {
  const std::string config = folder_ / "config.yml";
  std::ofstream(config) << "version: 0.1\n"
                           "log:\n  level: info\n  accesslog:\n    disabled: true\n"
                           "storage:\n  filesystem:\n    rootdirectory: "
                        << folder_.path() << "/data\n"
                        << "http:\n  addr: 127.0.0.1:0\n"
                        << extra_config;
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) Die("pipe");
  pid_ = ::fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(fds[1], 1);
    ::dup2(fds[1], 2);
    ::setenv("OTEL_TRACES_EXPORTER", "none", 1);
    ::execlp("docker-registry", "docker-registry", "serve", config.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(fds[1]);
  log_fd_ = fds[0];
  // It says which port it got: level=info msg="listening on 127.0.0.1:40123" …
  const std::string mark = "listening on ";
  std::string log;
  char buffer[4096];
  while (host_.empty()) {
    const ssize_t n = ::read(log_fd_, buffer, sizeof(buffer));
    if (n <= 0) Die("it ended: " + log);
    log.append(buffer, static_cast<size_t>(n));
    const size_t at = log.find(mark);
    const size_t end = at == std::string::npos ? at : log.find_first_of("\"\n, ", at + mark.size());
    if (end != std::string::npos) host_ = log.substr(at + mark.size(), end - at - mark.size());
  }
  drain_ = std::thread([fd = log_fd_] {
    char rest[4096];
    while (::read(fd, rest, sizeof(rest)) > 0) {
    }
  });
}

DockerRegistry::~DockerRegistry() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  drain_.join();
  ::close(log_fd_);
}

std::string DockerRegistry::BlobFile(const std::string& digest) const {
  const std::string hex = digest.substr(digest.find(':') + 1);
  return folder_ / ("data/docker/registry/v2/blobs/sha256/" + hex.substr(0, 2) + "/" + hex + "/data");
}

std::string DockerRegistry::Push(const std::string& source, const std::string& target, const std::string& flags) {
  const std::string digest_file = folder_ / "digest";
  const CommandResult copied = RunScript("skopeo copy --quiet --dest-tls-verify=false --insecure-policy --digestfile " + digest_file + " " +
                                         flags + " " + source + " docker://" + host_ + "/" + target);
  if (copied.status != 0) Die(copied.output);
  std::string digest;
  std::ifstream(digest_file) >> digest;
  return digest;
}

}  // namespace cleanroom::testing
