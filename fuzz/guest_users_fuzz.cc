// The image's /etc/passwd and /etc/group: the first line is the user asked for, and a line "%"
// divides the two files.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "accounts/users.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(rest.find('\n'), rest.size());
  const std::string_view spec = rest.substr(0, line);
  rest.remove_prefix(std::min(line + 1, rest.size()));
  const size_t divide = std::min(rest.find("\n%\n"), rest.size());
  const std::string_view passwd = rest.substr(0, divide);
  const std::string_view group = rest.substr(std::min(divide + 3, rest.size()));
  const auto user = cleanroom::accounts::ResolveUser(spec, passwd, group);
  if (user && (user->groups.size() > cleanroom::accounts::kMaxGroups || user->home.empty() ||
               user->home.front() != '/' || user->uid == UINT32_MAX || user->gid == UINT32_MAX)) {
    abort();
  }
  return 0;
}
