#include "guest/command.h"

#include <algorithm>

#include "cleanroom/internal/v1/guest.pb.h"
#include "guest/environment.h"

namespace cleanroom::guest {
namespace {

// Empty when the image has no such file: then only numbers and root can be users.
Result<std::string> ReadAccounts(const Root& root, const std::string& path) {
  auto text = root.ReadFile(path, kMaxAccountFileBytes);
  if (!text && text.error().code() == ErrorCode::kNotFound) return std::string();
  return text;
}

Result<User> FindUser(const Root& root, const std::string& spec) {
  CR_TRY_ASSIGN(const std::string passwd, ReadAccounts(root, "/etc/passwd"));
  CR_TRY_ASSIGN(const std::string group, ReadAccounts(root, "/etc/group"));
  return ResolveUser(spec, passwd, group);
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

}  // namespace

std::expected<SpawnRequest, SpawnFailure> PrepareCommand(const Root& root,
                                                         const CommandDefaults& defaults,
                                                         const internal::v1::ExecStart& start) {
  if (std::any_of(start.argv().begin(), start.argv().end(), HasNul) || HasNul(start.workdir())) {
    return std::unexpected(
        SpawnFailure{126, "the command or its working directory holds a NUL byte"});
  }
  auto user = FindUser(root, start.user().empty() ? defaults.user : start.user());
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
