// What the smallest and the largest sandbox may have; config, policies and launches go by the same.
#pragma once

#include <cstdint>

namespace cleanroom {

inline constexpr int kMaxVcpus = 64;
inline constexpr int64_t kMinMemoryMib = 64;
inline constexpr int64_t kMaxMemoryMib = int64_t{1} << 20;  // 1 TiB
inline constexpr int64_t kMinDiskMib = 64;
inline constexpr int64_t kMaxDiskMib = int64_t{8} << 20;  // 8 TiB

}  // namespace cleanroom
