// Prime: what a machine does before it is saved as a template, so that its copies need not do it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guest/devices.h"

namespace cleanroom::guest {

// The virtio serial after "cleanroom.prime=" on the kernel's command line; nothing when it is not
// there, which is how every machine boots that is not to be saved.
std::optional<std::string> PrimeImageSerial(std::string_view kernel_command_line);

// Mounts the image read-only where MountRoot expects it, and runs its shell once in it, so that
// the loader, the shell and the kernel's paths for them are in memory. The shell reads nothing and
// is told nothing: no user's data can enter a template. An image without a shell is no error.
Result<void> Prime(DeviceEvents& events, const std::string& image_serial);

// Said on the console when a machine may be saved.
inline constexpr std::string_view kPrimedLine = "cleanroom-guest: primed";

}  // namespace cleanroom::guest
