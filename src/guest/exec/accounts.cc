#include "guest/exec/accounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <cstdlib>
#include <utility>

namespace cleanroom::guest {
namespace {

constexpr size_t kMaxKnown = 16;
// A file that changes twice within a tick of the kernel's clock may keep its time.
constexpr int64_t kSettledNs = 1'000'000'000;

Result<std::string> ReadAccounts(const Root& root, const std::string& path) {
  auto text = root.ReadFile(path, accounts::kMaxAccountFileBytes);
  if (!text && text.error().code() == ErrorCode::kNotFound) return std::string();
  return text;
}

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

// Only compared: where the path leads decides nothing else.
Accounts::Version Accounts::Look(const Root& root, const char* path) const {
  struct stat info;
  if (fstatat(root.fd(), path, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) {
    return {};
  }
  const int64_t changed = Nanoseconds(info.st_ctim);
  const std::chrono::nanoseconds now = now_().time_since_epoch();
  if (std::llabs(now.count() - changed) < kSettledNs) return {};
  return {.device = info.st_dev, .inode = info.st_ino, .size = info.st_size, .changed_ns = changed};
}

Result<accounts::User> Accounts::Find(const Root& root, const std::string& spec) {
  const Version passwd = Look(root, "etc/passwd");
  const Version group = Look(root, "etc/group");
  const bool settled = passwd.inode != 0 && group.inode != 0;
  if (!settled || passwd != passwd_ || group != group_) known_.clear();
  const auto known = known_.find(spec);
  if (known != known_.end()) return known->second;
  CR_TRY_ASSIGN(const std::string passwd_text, ReadAccounts(root, "/etc/passwd"));
  CR_TRY_ASSIGN(const std::string group_text, ReadAccounts(root, "/etc/group"));
  CR_TRY_ASSIGN(accounts::User user, accounts::ResolveUser(spec, passwd_text, group_text));
  if (settled && known_.size() < kMaxKnown) {
    passwd_ = passwd;
    group_ = group;
    known_[spec] = user;
  }
  return user;
}

}  // namespace cleanroom::guest
