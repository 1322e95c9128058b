#include "server/launch/admission.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <charconv>

#include "os/file.h"

namespace cleanroom::server {

Result<void> Admit(const HostRoom& room, int64_t memory_mib, int64_t promised_mib) {
  const int64_t memory = room.memory_mib - kMemoryReserveMib - promised_mib;
  if (memory < memory_mib) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("not enough memory for the sandbox: it wants {} MiB, the host has {} "
                           "MiB to give ({} MiB "
                           "available, {} MiB promised to machines that are starting, {} MiB kept "
                           "for the host): end "
                           "other sandboxes (cleanroom sandbox ls) or ask for less memory",
                           memory_mib, memory < 0 ? 0 : memory, room.memory_mib, promised_mib,
                           kMemoryReserveMib));
  }
  if (room.disk_mib < kDiskReserveMib) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("not enough disk space for the sandbox: {} MiB are free, {} MiB must "
                           "be: end other sandboxes "
                           "or remove images (cleanroom image rm)",
                           room.disk_mib, kDiskReserveMib));
  }
  return {};
}

Result<int64_t> ParseMemAvailable(std::string_view meminfo) {
  constexpr std::string_view kKey = "MemAvailable:";
  const size_t at = meminfo.find(kKey);
  if (at != std::string_view::npos) {
    std::string_view rest = meminfo.substr(at + kKey.size());
    const size_t digits = rest.find_first_not_of(" \t");
    if (digits != std::string_view::npos) {
      rest.remove_prefix(digits);
      int64_t kib = 0;
      const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), kib);
      (void)end;
      if (status == std::errc()) return kib / 1024;
    }
  }
  return Err(ErrorCode::kDataCorrupt, "/proc/meminfo has no MemAvailable line");
}

Result<HostRoom> ReadHostRoom(const std::string& disk_folder) {
  CR_TRY_ASSIGN(const std::string meminfo, os::ReadFile("/proc/meminfo", 64U << 10));
  HostRoom room;
  CR_TRY_ASSIGN(room.memory_mib, ParseMemAvailable(meminfo));
  struct statvfs info{};
  if (statvfs(disk_folder.c_str(), &info) != 0) {
    return ErrErrno(ErrorCode::kInternal,
                    fmt::format("cannot read the free space of {}", disk_folder));
  }
  room.disk_mib =
      static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize) / (1 << 20);
  return room;
}

}  // namespace cleanroom::server
