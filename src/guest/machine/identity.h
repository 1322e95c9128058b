// What makes one sandbox differ from the next: name, clock, randomness, machine id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest/files/root.h"

namespace cleanroom::guest {

inline constexpr size_t kMinEntropyBytes = 32;

// 1 to 64 characters of [A-Za-z0-9.-].
bool IsHostname(std::string_view name);

Result<void> SetHostname(const std::string& name);

// Gives the kernel's random generator secret bytes, counted in full, and makes it reseed from them
// at once: a machine restored from a template would otherwise go on with its siblings' state.
Result<void> SeedRandom(std::string_view entropy);

// Nanoseconds since the Unix epoch.
Result<void> SetClock(int64_t nanoseconds);

// 32 hexadecimal digits from the kernel's random generator.
std::string NewMachineId();

// Adds to the clock, at once.
Result<void> AdjustClock(int64_t nanoseconds);

// The contents of files below /etc.
std::string HostsFile(const std::string& hostname, const std::vector<std::string>& addresses);
std::string ResolvFile(const std::vector<std::string>& nameservers);

// Writes /etc/resolv.conf, which is the same in every sandbox.
Result<void> WriteNetworkFiles(const Root& root, const std::vector<std::string>& nameservers);
// Writes /etc/hostname, hosts and machine-id.
Result<void> WriteIdentityFiles(const Root& root, const std::string& hostname,
                                const std::vector<std::string>& addresses);

}  // namespace cleanroom::guest
