#include "server/warden/jail_checks.h"

#include <chrono>
#include <string>
#include <utility>

#include "base/id.h"
#include "os/file.h"
#include "os/process.h"
#include "server/layout.h"
#include "server/warden/sandbox_user.h"
#include "warden_link/jail_report.h"

namespace cleanroom::server {
namespace {

using capability::Check;

constexpr std::chrono::milliseconds kLimit{10'000};

Check CheckGroups(const Settings& settings) {
  const bool memory = settings.cgroups && settings.cgroups->Limits("memory");
  const bool processes = settings.cgroups && settings.cgroups->Limits("pids");
  if (memory && processes) {
    return {"jail-cgroup", Check::Status::kOk, "memory and processes of a sandbox are limited", ""};
  }
  std::string lacking = memory ? "" : "memory";
  if (!processes) lacking += memory ? "processes" : " and processes";
  return {"jail-cgroup", Check::Status::kWarn,
          "no control group limits the " + lacking + " of a sandbox, beside its own limits",
          "run cleanroom serve as a systemd service (of the system, or of the user) with "
          "Delegate=memory pids"};
}

Result<std::vector<Check>> Inspect(const Settings& settings) {
  CR_TRY_ASSIGN(const os::TempDir state, os::TempDir::Create());
  const Layout layout(state.path());
  const SandboxId id = SandboxId::New(std::chrono::system_clock::now());
  const std::string folder = layout.Sandbox(id);
  CR_TRY(os::MakeDirs(folder));
  CR_TRY_ASSIGN(const auto user, GiveToUser(settings.users, layout, id));
  std::vector<std::string> argv = {settings.warden_program.string(),
                                   std::string(warden_link::kCheckFlag),
                                   "--sandbox-id",
                                   id.text(),
                                   "--dir",
                                   folder};
  if (user) {
    argv.emplace_back("--user");
    argv.push_back(std::to_string(*user));
  }
  os::RunOptions options;
  options.spawn.env = std::vector<std::string>();
  options.timeout = kLimit;
  CR_TRY_ASSIGN(const os::Output output, os::Run(argv, options));
  auto checks = warden_link::ParseJailReport(output.out);
  if (!output.status.ok() || checks.empty()) {
    return Err(ErrorCode::kFailedPrecondition,
               "the warden " + output.status.ToString() + " " + output.err);
  }
  return checks;
}

std::vector<Check> CheckJail(const Settings& settings) {
  std::vector<Check> checks;
  auto inspected = Inspect(settings);
  if (inspected) {
    checks = *std::move(inspected);
  } else {
    checks.push_back({"jail", Check::Status::kFail, inspected.error().message(),
                      "run as an ordinary user, or as root with all capabilities"});
  }
  checks.push_back(CheckGroups(settings));
  return checks;
}

}  // namespace

Awaitable<std::vector<Check>> JailChecks::Checks() {
  auto work = [settings = settings_] { return CheckJail(settings); };
  co_return co_await pool_.Run(work);
}

}  // namespace cleanroom::server
