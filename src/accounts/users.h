// Who a command runs as: a user specification resolved with the image's /etc/passwd and /etc/group.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::accounts {

// The two files come from the image and are hostile. The caller reads at most this much of each;
// lines that do not parse are passed over, as libc does.
inline constexpr size_t kMaxAccountFileBytes = 1 << 20;
// Supplementary groups of one user; more is an error.
inline constexpr size_t kMaxGroups = 1024;

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups{};  // supplementary
  std::string home = "/";
};

// `spec` is "" (root), "user", "user:group"; each a name, or a number, which need not be listed.
// The rules are those of OCI runtimes: an unlisted number has group 0 and home "/"; supplementary
// groups count only when no group is asked for. not_found names a user or group that is missing,
// invalid_argument a specification that cannot be one.
Result<User> ResolveUser(std::string_view spec, std::string_view passwd, std::string_view group);

}  // namespace cleanroom::accounts
