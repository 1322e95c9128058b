// "ID | --last": how a command says which sandbox it means, and the order that "last" goes by.
#pragma once

#include <string>

#include "base/async.h"
#include "client/api.h"

namespace CLI {
class App;
}

namespace cleanroom::cli {

struct SandboxChoice {
  std::string id{};
  bool last = false;
};

void AddSandboxChoice(CLI::App& command, SandboxChoice& choice);
// `command`: "cleanroom sandbox inspect".
Result<void> CheckSandboxChoice(const SandboxChoice& choice, const std::string& command);
// Oldest first. Ids do not tell: that of a machine which was made ready beforehand is older than
// the sandbox that it became.
void SortByCreation(::cleanroom::v1::ListSandboxesResponse& list);

// The id; asks the daemon for --last. not_found when there is no sandbox.
Awaitable<Result<std::string>> ResolveSandbox(client::Api& api, SandboxChoice choice);

}  // namespace cleanroom::cli
