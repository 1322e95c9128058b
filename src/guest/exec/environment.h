// The environment of a command, and where its program is looked for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::guest {

inline constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct EnvironmentDefaults {
  std::string_view home{};
  std::string_view hostname{};
  bool terminal = false;  // then TERM=xterm
};

// "KEY=VALUE" entries, in order of first appearance; the last value of a key wins, and `request`
// comes after `image`. Entries without a key or "=" are left out, as are those that hold a NUL.
// PATH, HOME, HOSTNAME and TERM are added where neither list sets them.
std::vector<std::string> MergeEnvironment(const std::vector<std::string>& image,
                                          const std::vector<std::string>& request,
                                          const EnvironmentDefaults& defaults);

// The value of `key`, or "".
std::string_view Lookup(const std::vector<std::string>& environment, std::string_view key);

// The paths to try to execute, in order: `program` itself when it has a '/', else that name in
// every folder of the colon-separated `path` (an empty folder is the working directory).
std::vector<std::string> ProgramCandidates(std::string_view program, std::string_view path);

}  // namespace cleanroom::guest
