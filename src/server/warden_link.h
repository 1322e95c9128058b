// WardenLink: a warden that this control plane has started, with the connection to it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/client.h"
#include "server/launch_resources.h"
#include "server/layout.h"
#include "server/settings.h"
#include "server/warden_process.h"
#include "vmm/template_store.h"

namespace cleanroom::server {

namespace pb = ::cleanroom::internal::v1;

struct WardenLink {
  std::optional<WardenProcess> process;
  std::shared_ptr<rpc::Channel> channel;  // shared with the calls that use it
  std::vector<std::string> groups;        // that the warden is to be in: EnterGroups
};

// Starts the warden of the sandbox `id`, whose folder exists, to run a machine of this shape, from
// the template if there is one.
Result<WardenLink> StartWarden(asio::any_io_executor executor, const Settings& settings,
                               const Layout& layout, const std::string& id,
                               const MachineShape& shape, const vmm::Template* from);
// Moves a warden that has just started, and its machine, into its control groups. It takes the
// kernel some milliseconds, in which the warden goes on.
Awaitable<void> EnterGroups(BlockingPool& pool, std::vector<std::string> groups, pid_t pid);
// Connects to a warden by the socket in its folder.
Result<std::shared_ptr<rpc::Channel>> ConnectWarden(asio::any_io_executor executor,
                                                    const Layout& layout, const std::string& id);
// Hangs up, kills the warden, and its machine with it, and waits for its end. Empty ones are fine.
Awaitable<void> KillWarden(WardenLink& link);

// The same machine as a warden takes it; `disk` is its writable disk.
pb::Machine ToMessage(const MachineShape& shape, const std::string& disk,
                      const vmm::Template* from);
vmm::TemplateInputs InputsOf(const MachineShape& shape);

}  // namespace cleanroom::server
