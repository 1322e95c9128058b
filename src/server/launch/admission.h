// Admission: whether the host has room for one more sandbox. Pure, but for ReadHostRoom.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::server {

struct HostRoom {
  int64_t memory_mib = 0;  // available without swapping (MemAvailable)
  int64_t disk_mib = 0;    // free for us where the sandboxes' disks lie
};

// Kept free for the host itself.
inline constexpr int64_t kMemoryReserveMib = 256;
inline constexpr int64_t kDiskReserveMib = 512;

// resource_exhausted, saying what is missing. `promised_mib` is memory that machines under way will
// still take. The disk is sparse, so only the reserve must be free.
Result<void> Admit(const HostRoom& room, int64_t memory_mib, int64_t promised_mib);

// From /proc/meminfo and statvfs of `disk_folder`.
Result<HostRoom> ReadHostRoom(const std::string& disk_folder);

// MemAvailable in the text of /proc/meminfo, in MiB; data_corrupt when it is not there.
Result<int64_t> ParseMemAvailable(std::string_view meminfo);

}  // namespace cleanroom::server
