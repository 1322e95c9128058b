#include "guest/exec/command.h"

#include <algorithm>

#include "cleanroom/internal/v1/guest.pb.h"
#include "guest/exec/environment.h"

namespace cleanroom::guest {
namespace {

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

}  // namespace

std::expected<SpawnRequest, SpawnFailure> PrepareCommand(const Root& root, Accounts& accounts,
                                                         const CommandDefaults& defaults,
                                                         const internal::v1::ExecStart& start) {
  if (std::any_of(start.argv().begin(), start.argv().end(), HasNul) || HasNul(start.workdir())) {
    return std::unexpected(
        SpawnFailure{126, "the command or its working directory holds a NUL byte"});
  }
  auto user = accounts.Find(root, start.user().empty() ? defaults.user : start.user());
  if (!user) return std::unexpected(SpawnFailure{126, user.error().message()});
  SpawnRequest request;
  request.argv.assign(start.argv().begin(), start.argv().end());
  request.env = MergeEnvironment(
      defaults.env, {start.env().begin(), start.env().end()},
      {.home = user->home, .hostname = defaults.hostname, .terminal = start.tty()});
  request.user = *std::move(user);
  request.change_user = defaults.change_user;
  if (!start.workdir().empty()) {
    request.workdir = start.workdir();
  } else if (!defaults.workdir.empty()) {
    request.workdir = defaults.workdir;
  }
  request.root_fd = defaults.change_user ? root.fd() : -1;
  return request;
}

}  // namespace cleanroom::guest
