#include "guest/machine/devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "os/file.h"

namespace cleanroom::guest {
namespace {

constexpr size_t kMaxListBytes = 64 << 10;
constexpr size_t kMaxAttributeBytes = 4096;
constexpr unsigned kDeviceEventGroup = 1;  // the kernel's own events

// Tells `one` of each entry of the directory with the value that its file `attribute` holds, until
// it has heard enough (true).
void ForEach(const std::string& directory, std::string_view attribute,
             const std::function<bool(std::string_view name, std::string value)>& one) {
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(directory.c_str()), closedir);
  while (listing) {
    const dirent* entry = readdir(listing.get());
    if (entry == nullptr) return;
    const std::string_view name = entry->d_name;
    if (name.starts_with('.')) continue;
    auto value =
        os::ReadFile(fmt::format("{}/{}/{}", directory, name, attribute), kMaxAttributeBytes);
    if (!value) continue;
    while (!value->empty() && value->back() == '\n') value->pop_back();
    if (one(name, *std::move(value))) return;
  }
}

Result<void> LoadModule(const std::string& path) {
  CR_TRY_ASSIGN(const os::UniqueFd file, os::Open(path, O_RDONLY));
  if (syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("load {}", path));
  }
  return {};
}

}  // namespace

Result<void> LoadModules(const std::string& list) {
  auto paths = os::ReadFile(list, kMaxListBytes);
  if (!paths && paths.error().code() == ErrorCode::kNotFound) return {};
  CR_TRY(paths);
  for (size_t begin = 0; begin < paths->size();) {
    const size_t end = std::min(paths->find('\n', begin), paths->size());
    const std::string path = paths->substr(begin, end - begin);
    begin = end + 1;
    if (!path.empty()) CR_TRY(LoadModule(path));
  }
  return {};
}

Result<std::string> FindSerialPort(const std::string& sysfs, std::string_view name) {
  std::string found;
  ForEach(sysfs + "/class/virtio-ports", "name", [&](std::string_view device, std::string value) {
    if (value == name) found = device;
    return !found.empty();
  });
  if (!found.empty()) return found;
  return Err(ErrorCode::kNotFound, fmt::format("no serial port has the name '{}'", name));
}

BlockDevices ListBlockDevices(const std::string& sysfs) {
  BlockDevices all;
  ForEach(sysfs + "/block", "serial", [&](std::string_view device, std::string value) {
    all.emplace(std::move(value), device);
    return false;
  });
  return all;
}

Result<DeviceEvents> DeviceEvents::Create() {
  os::UniqueFd fd(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!fd) return ErrErrno(ErrorCode::kInternal, "socket for device events");
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kDeviceEventGroup;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return ErrErrno(ErrorCode::kInternal, "listen for device events");
  }
  return DeviceEvents(std::move(fd));
}

Result<std::string> DeviceEvents::WaitFor(const std::function<Result<std::string>()>& find,
                                          std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    auto found = find();
    if (found) return found;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return found;
    pollfd event{socket_.get(), POLLIN, 0};
    if (poll(&event, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return ErrErrno(ErrorCode::kInternal, "wait for a device");
    }
    // What they say does not matter, nor that some may be lost: each is a reason to look again.
    char message[4096];
    ssize_t n = 0;
    while ((n = recv(socket_.get(), message, sizeof message, 0)) > 0 ||
           (n < 0 && errno == ENOBUFS)) {
    }
  }
}

}  // namespace cleanroom::guest
