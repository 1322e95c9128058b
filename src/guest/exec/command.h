// From a request to run something to what Spawn needs: the user, the environment, the directory.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "guest/exec/accounts.h"
#include "guest/exec/spawn.h"
#include "guest/files/root.h"

namespace cleanroom::internal::v1 {
class ExecStart;
}

namespace cleanroom::guest {

// What holds for every command of the sandbox: set once, by Configure.
struct CommandDefaults {
  std::string hostname;
  // Of the image.
  std::vector<std::string> env{};
  std::string workdir{};
  std::string user{};
  // See SpawnRequest.
  bool change_user = true;
};

// Without descriptors and cgroup, which the execution adds.
std::expected<SpawnRequest, SpawnFailure> PrepareCommand(const Root& root, Accounts& accounts,
                                                         const CommandDefaults& defaults,
                                                         const internal::v1::ExecStart& start);

}  // namespace cleanroom::guest
