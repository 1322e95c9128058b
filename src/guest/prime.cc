#include "guest/prime.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "guest/mounts.h"

namespace cleanroom::guest {
namespace {

constexpr std::string_view kOption = "cleanroom.prime=";
constexpr std::chrono::seconds kDeviceTimeout(5);
// A shell that does not end has this long.
constexpr unsigned kShellSeconds = 5;

[[noreturn]] void RunShell(const char* root) {
  alarm(kShellSeconds);
  const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (chroot(root) == 0 && chdir("/") == 0) {
    for (int fd = 0; fd < 3; ++fd) dup2(null_fd, fd);
    const char* const argv[] = {"sh", "-c", ":", nullptr};
    const char* const environment[] = {"PATH=/usr/bin:/bin", nullptr};
    execve("/bin/sh", const_cast<char* const*>(argv), const_cast<char* const*>(environment));
  }
  _exit(127);
}

}  // namespace

std::optional<std::string> PrimeImageSerial(std::string_view line) {
  while (!line.empty()) {
    const size_t end = line.find_first_of(" \n");
    const std::string_view word = line.substr(0, end);
    if (word.starts_with(kOption)) return std::string(word.substr(kOption.size()));
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 1);
  }
  return std::nullopt;
}

Result<void> Prime(DeviceEvents& events, const std::string& image_serial) {
  const auto find = [&image_serial] { return FindBlockDevice("/sys", image_serial); };
  CR_TRY_ASSIGN(const std::string device, events.WaitFor(find, kDeviceTimeout));
  CR_TRY_ASSIGN(const std::string place, MountImage("/dev/" + device));
  const pid_t child = fork();
  if (child == 0) RunShell(place.c_str());
  if (child < 0) return ErrErrno(ErrorCode::kInternal, "fork");
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {};
}

}  // namespace cleanroom::guest
