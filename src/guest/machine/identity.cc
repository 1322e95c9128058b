#include "guest/machine/identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "os/file.h"

namespace cleanroom::guest {
namespace {
constexpr size_t kMaxHostname = 64;
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
}  // namespace

bool IsHostname(std::string_view name) {
  return !name.empty() && name.size() <= kMaxHostname &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-';
         });
}

Result<void> SetHostname(const std::string& name) {
  if (sethostname(name.data(), name.size()) != 0) {
    return ErrErrno(ErrorCode::kInternal, fmt::format("set the hostname {}", name));
  }
  return {};
}

Result<void> SeedRandom(std::string_view entropy) {
  CR_TRY_ASSIGN(const os::UniqueFd device, os::Open("/dev/random", O_RDWR));
  const std::unique_ptr<char[]> storage(new char[sizeof(rand_pool_info) + entropy.size()]);
  auto* const pool = new (storage.get()) rand_pool_info;
  pool->entropy_count = static_cast<int>(entropy.size() * 8);
  pool->buf_size = static_cast<int>(entropy.size());
  memcpy(storage.get() + sizeof(rand_pool_info), entropy.data(), entropy.size());
  const bool added = ioctl(device.get(), RNDADDENTROPY, pool) == 0;
  explicit_bzero(storage.get(), sizeof(rand_pool_info) + entropy.size());
  if (!added) return ErrErrno(ErrorCode::kInternal, "add entropy");
  if (ioctl(device.get(), RNDRESEEDCRNG) != 0) {
    return ErrErrno(ErrorCode::kInternal, "reseed the random generator");
  }
  return {};
}

Result<void> SetClock(int64_t nanoseconds) {
  const timespec now = {nanoseconds / kNanosecondsPerSecond, nanoseconds % kNanosecondsPerSecond};
  if (clock_settime(CLOCK_REALTIME, &now) != 0) {
    return ErrErrno(ErrorCode::kInternal, "set the clock");
  }
  return {};
}

Result<void> AdjustClock(int64_t nanoseconds) {
  timex change = {};
  change.modes = ADJ_SETOFFSET | ADJ_NANO;
  change.time.tv_sec = nanoseconds / kNanosecondsPerSecond;
  change.time.tv_usec = nanoseconds % kNanosecondsPerSecond;
  if (change.time.tv_usec < 0) {  // counts forward from the second
    --change.time.tv_sec;
    change.time.tv_usec += kNanosecondsPerSecond;
  }
  if (clock_adjtime(CLOCK_REALTIME, &change) < 0) {
    return ErrErrno(ErrorCode::kInternal, "adjust the clock");
  }
  return {};
}

std::string NewMachineId() {
  unsigned char id[16] = {};
  // Never short for so few bytes.
  (void)!getrandom(id, sizeof id, 0);
  std::string text;
  for (const unsigned char byte : id) fmt::format_to(std::back_inserter(text), "{:02x}", byte);
  return text;
}

std::string HostsFile(const std::string& hostname, const std::vector<std::string>& addresses) {
  std::string text =
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "ff02::1\tip6-allnodes\n"
      "ff02::2\tip6-allrouters\n";
  for (const std::string& address : addresses) {
    text += fmt::format("{}\t{}\n", address.substr(0, address.find('/')), hostname);
  }
  if (addresses.empty()) text += fmt::format("127.0.1.1\t{}\n", hostname);
  return text;
}

std::string ResolvFile(const std::vector<std::string>& nameservers) {
  std::string text;
  for (const std::string& nameserver : nameservers)
    text += fmt::format("nameserver {}\n", nameserver);
  return text;
}

Result<void> WriteNetworkFiles(const Root& root, const std::vector<std::string>& nameservers) {
  return root.ReplaceFile("/etc", "resolv.conf", ResolvFile(nameservers));
}

Result<void> WriteIdentityFiles(const Root& root, const std::string& hostname,
                                const std::vector<std::string>& addresses) {
  CR_TRY(root.ReplaceFile("/etc", "hostname", hostname + "\n"));
  CR_TRY(root.ReplaceFile("/etc", "hosts", HostsFile(hostname, addresses)));
  return root.ReplaceFile("/etc", "machine-id", NewMachineId() + "\n", 0444);
}

}  // namespace cleanroom::guest
