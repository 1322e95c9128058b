#include "server/warden/sandbox_user.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <random>
#include <set>
#include <vector>

#include "os/file.h"

namespace cleanroom::server {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kFirst = 0x70000000;
constexpr uint32_t kCount = 1U << 28;
constexpr uint32_t kFewest = 4096;
constexpr size_t kMaxMap = 64 << 10;
constexpr std::array kNeeded = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_KILL,
                                CAP_SETGID, CAP_SETUID,       CAP_SYS_ADMIN};

bool HasCapabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets = {};
  if (syscall(SYS_capget, &header, sets.data()) != 0) return false;
  return std::ranges::all_of(kNeeded, [&](int capability) {
    return (sets[capability / 32].effective & (1U << (capability % 32))) != 0;
  });
}

Result<UserRange> Range() {
  std::vector<UserRange> ranges;
  for (const char* path : {"/proc/self/uid_map", "/proc/self/gid_map"}) {
    CR_TRY_ASSIGN(const std::string map, os::ReadFile(path, kMaxMap));
    const auto range = UsersIn(map);
    if (!range || (!ranges.empty() && ranges[0] != *range)) {
      return Err(ErrorCode::kFailedPrecondition,
                 fmt::format("{} has too few user ids for sandboxes", path));
    }
    ranges.push_back(*range);
  }
  return ranges[0];
}

std::set<uid_t> OwnersOf(const Layout& layout, const std::string& but) {
  std::set<uid_t> owners;
  std::error_code error;
  for (fs::directory_iterator it(layout.Sandboxes(), error), end; !error && it != end;
       it.increment(error)) {
    struct stat info = {};
    if (it->path().filename() != but && lstat(it->path().c_str(), &info) == 0) {
      owners.insert(info.st_uid);
    }
  }
  return owners;
}

Result<void> Give(const fs::path& path, uid_t user) {
  if (lchown(path.c_str(), user, user) == 0) return {};
  return ErrErrno(ErrorCode::kInternal, fmt::format("give {} to user {}", path.string(), user));
}

}  // namespace

std::optional<UserRange> UsersIn(std::string_view uid_map) {
  std::optional<UserRange> best;
  while (!uid_map.empty()) {
    const size_t end = std::min(uid_map.find('\n'), uid_map.size());
    std::string_view line = uid_map.substr(0, end);
    uid_map.remove_prefix(std::min(end + 1, uid_map.size()));
    std::array<uint32_t, 3> numbers = {};  // first inside, first outside, count
    bool whole = true;
    for (uint32_t& number : numbers) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const auto [rest, status] = std::from_chars(line.data(), line.data() + line.size(), number);
      whole = whole && status == std::errc();
      line.remove_prefix(static_cast<size_t>(rest - line.data()));
    }
    if (!whole) continue;
    const uint64_t past = uint64_t{numbers[0]} + numbers[2];
    if (numbers[0] <= kFirst && past >= uint64_t{kFirst} + kCount) {
      return UserRange{.first = kFirst, .count = kCount};
    }
    const uint32_t half = numbers[2] / 2;
    if (half >= kFewest && (!best || half > best->count)) {
      best = UserRange{.first = numbers[0] + half, .count = half};
    }
  }
  return best;
}

Result<std::optional<UserRange>> FindSandboxUsers() {
  if (geteuid() != 0) return std::nullopt;
  if (!HasCapabilities()) {
    return Err(ErrorCode::kFailedPrecondition,
               "root lacks a capability that running sandboxes as other users needs (CAP_SETUID, "
               "CAP_SETGID, CAP_CHOWN, CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL)");
  }
  return Range();
}

Result<std::optional<uid_t>> GiveToUser(const std::optional<UserRange>& users, const Layout& layout,
                                        const SandboxId& id) {
  if (!users) return std::nullopt;
  const std::set<uid_t> taken = OwnersOf(layout, id.text());
  std::random_device random;
  std::uniform_int_distribution<uid_t> any(users->first, users->first + (users->count - 1));
  uid_t user = any(random);
  while (taken.contains(user)) user = any(random);
  const std::string folder = layout.Sandbox(id);
  CR_TRY(Give(folder, user));
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    CR_TRY(Give(it->path(), user));
  }
  if (error) return Err(ErrorCode::kInternal, fmt::format("{}: {}", folder, error.message()));
  return user;
}

}  // namespace cleanroom::server
