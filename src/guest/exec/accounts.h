// Accounts: the users of the image, remembered until its account files change.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "accounts/users.h"
#include "base/result.h"
#include "guest/files/root.h"

namespace cleanroom::guest {

class Accounts {
 public:
  using WallClock = std::function<std::chrono::system_clock::time_point()>;
  explicit Accounts(WallClock now = [] { return std::chrono::system_clock::now(); })
      : now_(std::move(now)) {}

  // The user of this specification, as accounts::ResolveUser has it from /etc/passwd and /etc/group; an image
  // without such a file has only numbers and root.
  Result<accounts::User> Find(const Root& root, const std::string& spec);

 private:
  // Of one file; any change of it changes this.
  struct Version {
    dev_t device = 0;
    ino_t inode = 0;  // 0: it must be read each time
    off_t size = 0;
    int64_t changed_ns = 0;
    bool operator==(const Version&) const = default;
  };
  Version Look(const Root& root, const char* path) const;

  WallClock now_;
  Version passwd_;
  Version group_;
  std::map<std::string, accounts::User> known_;
};

}  // namespace cleanroom::guest
