// What a guest finds its devices by, and what its kernel's command line may say to its agent:
// constants alone, for the monitors that make these devices, the agent and its warden.
#pragma once

#include <string>
#include <string_view>

namespace cleanroom::guest_link {

// The virtio-serial port that leads to the warden, where that is what carries the agent's stream.
inline constexpr std::string_view kAgentPort = "cleanroom.agent";

// The serials of the block devices: the sandbox's image (read-only), its disk,
inline constexpr std::string_view kImageSerial = "cr-image";
inline constexpr std::string_view kDiskSerial = "cr-disk";
// and slots (read-only), which are numbered from 0.
inline constexpr int kSlots = 8;  // that a sandbox's machine has
inline std::string SlotSerial(int index) { return "cr-slot-" + std::to_string(index); }

// The word of the kernel's command line that makes a machine prepare itself before anybody speaks
// to it, with a serialized PrepareRequest in hexadecimal digits behind it.
inline constexpr std::string_view kPrepareOption = "cleanroom.prepare=";

}  // namespace cleanroom::guest_link
