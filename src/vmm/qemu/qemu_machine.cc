#include "vmm/qemu/qemu_machine.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "document/bounded_json.h"
#include "vmm/qemu/argv.h"

namespace cleanroom::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Between two looks at something that takes a few milliseconds.
constexpr std::chrono::microseconds kPollInterval{300};

}  // namespace

QemuMachine::QemuMachine(os::Process process, Ends ends)
    : process_(std::move(process)),
      ends_(std::move(ends)),
      qmp_(std::move(ends_.monitor)),
      forked_(static_cast<bool>(ends_.lifeline)),
      greeted_(forked_) {}

Result<void> QemuMachine::Kill() {
  if (!forked_) return process_.Kill(SIGKILL);
  // It may be another user's process.
  ends_.lifeline.reset();
  return {};
}

Result<os::ExitStatus> QemuMachine::Quit(milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  // Without an answer it is killed below.
  (void)Ask("quit", "{}", deadline);
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  CR_TRY_ASSIGN(const auto ended, process_.WaitFor(std::max(left, milliseconds(0))));
  if (ended) return *ended;
  CR_TRY(Kill());
  return Wait();
}

Result<void> QemuMachine::Pause(TimePoint deadline) {
  CR_TRY(Ask("stop", "{}", deadline));
  return {};
}

Result<void> QemuMachine::Save(int state_fd, TimePoint deadline) {
  CR_TRY(Pause(deadline));
  CR_TRY(LeaveMemoryInItsFile(deadline));
  CR_TRY(qmp_.CallAll({{{.name = "getfd", .arguments = R"({"fdname":"state"})", .fd = state_fd}}},
                      deadline));
  CR_TRY(Ask("migrate", R"({"uri":"fd:state"})", deadline));
  return Until("query-migrate", "completed", deadline);
}

// A file's node takes the place of the empty one, by which nothing changes for the device above:
// QEMU opens no path, so this works in any root, and in a fork, which may open none.
Result<void> QemuMachine::FillSlots(std::span<const SlotFile> files, TimePoint deadline) {
  CR_TRY(Greet(deadline));
  std::vector<Qmp::Command> commands;
  nlohmann::json slots = nlohmann::json::array();
  for (const auto [slot, fd] : files) {
    const int set = slot + 1;  // a number of ours for the descriptor
    const std::string layer = fmt::format("layer{}", slot);
    commands.push_back(
        {.name = "add-fd", .arguments = fmt::format(R"({{"fdset-id":{}}})", set), .fd = fd});
    const nlohmann::json file = {{"driver", "file"},
                                 {"node-name", layer},
                                 {"filename", fmt::format("/dev/fdset/{}", set)},
                                 {"read-only", true},
                                 // A lock would be for all to respect who read the file.
                                 {"locking", "off"}};
    commands.push_back({.name = "blockdev-add", .arguments = file.dump()});
    slots.push_back(
        {{"driver", "raw"}, {"node-name", SlotNode(slot)}, {"read-only", true}, {"file", layer}});
  }
  commands.push_back(
      {.name = "blockdev-reopen", .arguments = nlohmann::json{{"options", slots}}.dump()});
  return qmp_.CallAll(commands, deadline);
}

Result<void> QemuMachine::Resume(TimePoint deadline) {
  CR_TRY(LeaveMemoryInItsFile(deadline));
  // It has not moved to another host: no switch needs to learn where it is.
  CR_TRY(Ask("migrate-set-parameters", R"({"announce-rounds":0})", deadline));
  CR_TRY(Ask("migrate-incoming", fmt::format(R"({{"uri":"fd:{}"}})", kQemuStateFd), deadline));
  // The state is there when it is paused, as the saved machine was.
  CR_TRY(Until("query-status", "paused", deadline));
  return Continue(deadline);
}

Result<void> QemuMachine::Continue(TimePoint deadline) {
  CR_TRY(Ask("cont", "{}", deadline));
  return {};
}

Result<std::string> QemuMachine::Ask(std::string_view command, std::string_view arguments,
                                     TimePoint deadline) {
  CR_TRY(Greet(deadline));
  return qmp_.Call(command, arguments, deadline);
}

Result<void> QemuMachine::Greet(TimePoint deadline) {
  if (greeted_) return {};
  CR_TRY(qmp_.Handshake(deadline));
  greeted_ = true;
  return {};
}

Result<void> QemuMachine::LeaveMemoryInItsFile(TimePoint deadline) {
  CR_TRY(Ask("migrate-set-capabilities",
             R"({"capabilities":[{"capability":"x-ignore-shared","state":true}]})", deadline));
  return {};
}

Result<void> QemuMachine::Until(std::string_view query, std::string_view wanted,
                                steady_clock::time_point deadline) {
  for (;;) {
    CR_TRY_ASSIGN(const std::string answer, Ask(query, "{}", deadline));
    const auto status = document::ParseBoundedJson(answer).value("status", "");
    if (status == wanted) return {};
    if (status == "failed" || status == "internal-error" || status == "shutdown") {
      return Err(ErrorCode::kRuntimeLaunchFailed,
                 fmt::format("QEMU: {} says {} instead of {}", query, status, wanted));
    }
    if (steady_clock::now() >= deadline) {
      return Err(ErrorCode::kDeadlineExceeded,
                 fmt::format("QEMU: {} still says {} instead of {}", query, status, wanted));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace cleanroom::vmm
