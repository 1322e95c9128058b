#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "cli/session/invocation.h"

namespace {

// A stream that the caller closed becomes /dev/null, so that no socket of ours takes its number.
void EnsureStandardStreams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", O_RDWR);
  }
}

}  // namespace

int main(int argc, char** argv) {
  EnsureStandardStreams();
  signal(SIGPIPE, SIG_IGN);  // a reader that is gone is an error of write(2)
  return cleanroom::cli::Main(std::vector<std::string>(argv + 1, argv + argc));
}
