// WardenLink: a warden that this control plane has started, with the connection to it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/client.h"
#include "server/launch/launch_resources.h"
#include "server/layout.h"
#include "server/settings.h"
#include "server/warden/warden_process.h"
#include "vmm/start_from.h"
#include "vmm/template_store.h"

namespace cleanroom::server {

namespace pb = ::cleanroom::internal::v1;

// What a machine starts from, and what of that is the control plane's to see to.
struct Origin {
  vmm::StartFrom from = {};
  std::string disk_file = {};  // a copy of it is the machine's disk; empty: a fresh one is
  std::vector<std::string> groups = {};  // control groups that a fork begins in
};
// A copy of the template.
Origin FromTemplate(const vmm::Template& saved);
// Whether the machine is for somebody, or to be held, so that others can be forked from it.
enum class Purpose { kUse, kHold };

struct WardenLink {
  std::optional<WardenProcess> process;
  std::shared_ptr<rpc::Channel> channel;  // shared with the calls that use it
  std::vector<std::string> groups;        // that the warden is to be in: EnterGroups
};

// Starts the warden of the sandbox `id`, whose folder exists, to run a machine of this shape.
Result<WardenLink> StartWarden(asio::any_io_executor executor, const Settings& settings,
                               const Layout& layout, const SandboxId& id, const MachineShape& shape,
                               const Origin& origin, Purpose purpose = Purpose::kUse);
// Moves a warden that has just started, and its machine, into its control groups. It takes the
// kernel some milliseconds, in which the warden goes on.
Awaitable<void> EnterGroups(BlockingPool& pool, std::vector<std::string> groups, pid_t pid);
// The same for the machine of the sandbox `id` that was forked: from the held one's groups into the
// sandbox's own. `pid` is what its warden says: one that does not carry the sandbox's id in its
// command line, as the held machine and other forks do not, is left where it is.
Awaitable<void> LeaveHeldGroups(BlockingPool& pool, SandboxId id, std::vector<std::string> from,
                                std::vector<std::string> to, pid_t pid);
// Connects to a warden by the socket in its folder.
Result<std::shared_ptr<rpc::Channel>> ConnectWarden(asio::any_io_executor executor,
                                                    const Layout& layout, const SandboxId& id);
// Has the warden end its machine and itself, or kills it when it does not within a second, and
// waits for its end; the machine of a warden that was killed is gone a moment later. Empty ones are
// fine.
Awaitable<void> KillWarden(WardenLink& link);

// The same machine as a warden takes it; `disk` is its writable disk.
pb::Machine ToMessage(const MachineShape& shape, const std::string& disk,
                      const vmm::StartFrom& from);
vmm::TemplateInputs InputsOf(const MachineShape& shape);

}  // namespace cleanroom::server
