// Kernel modules, and devices found by the names that the VMM gave them.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::guest {

// Loads the files whose paths the list holds, one a line and in that order. A module that is in the
// kernel already is passed over; a list that does not exist is empty.
Result<void> LoadModules(const std::string& list);

// The device name ("vport1p1") of the virtio-serial port with that name. `sysfs` is "/sys".
Result<std::string> FindSerialPort(const std::string& sysfs, std::string_view name);

// The names ("vda") of all block devices that have a serial, by that.
using BlockDevices = std::map<std::string, std::string, std::less<>>;
BlockDevices ListBlockDevices(const std::string& sysfs);

// Hears when the kernel adds devices. Create it before looking for the first time.
class DeviceEvents {
 public:
  static Result<DeviceEvents> Create();
  // Calls `find` until it succeeds, each time after something changed; its last error once the time
  // is up. Blocks.
  Result<std::string> WaitFor(const std::function<Result<std::string>()>& find,
                              std::chrono::milliseconds timeout);

 private:
  explicit DeviceEvents(os::UniqueFd socket) : socket_(std::move(socket)) {}
  os::UniqueFd socket_;
};

}  // namespace cleanroom::guest
