#include "warden/slots.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <utility>

#include "guest_link/devices.h"
#include "os/socket.h"

namespace cleanroom::warden {

Slots::Slots(os::UniqueFd handover) : handover_(std::move(handover)) {
  // What has not arrived when it is asked for does not come.
  if (handover_) (void)fcntl(handover_.get(), F_SETFL, O_NONBLOCK);
}

Result<std::vector<os::UniqueFd>> Slots::Receive(int count) {
  std::vector<os::UniqueFd> files;
  while (std::cmp_less(files.size(), count)) {
    auto message = os::ReceiveMessage(handover_.get());
    if (!message || message->fds.empty()) {
      return Err(ErrorCode::kFailedPrecondition,
                 fmt::format("{} layers were announced, and {} came", count, files.size()));
    }
    for (os::UniqueFd& file : message->fds) files.push_back(std::move(file));
  }
  if (std::cmp_greater(files.size(), count)) {
    return Err(ErrorCode::kInvalidArgument, "more layers came than were announced");
  }
  return files;
}

Result<std::vector<pb::MountRequest>> Slots::Fill(const pb::AttachRequest& request,
                                                  RunningMachine& machine,
                                                  std::chrono::steady_clock::time_point deadline) {
  int count = 0;
  for (const pb::LayeredFolder& folder : request.folders()) {
    if (folder.layers() < 1 || folder.layers() > guest_link::kSlots) {
      return Err(ErrorCode::kInvalidArgument,
                 fmt::format("{} layers for {}", folder.layers(), folder.target()));
    }
    count += folder.layers();
  }
  CR_TRY_ASSIGN(const std::vector<os::UniqueFd> files, Receive(count));
  if (count > guest_link::kSlots - used_) {
    return Err(
        ErrorCode::kResourceExhausted,
        fmt::format("a sandbox has room for {} layers, of which {} are in use, not for {} more",
                    guest_link::kSlots, used_, count));
  }
  std::vector<vmm::SlotFile> filled;
  std::vector<pb::MountRequest> mounts;
  for (const pb::LayeredFolder& folder : request.folders()) {
    pb::MountRequest& mount = mounts.emplace_back();
    mount.set_target(folder.target());
    for (int i = 0; i < folder.layers(); ++i) {
      filled.push_back({.slot = used_, .fd = files[filled.size()].get()});
      mount.add_slots(used_++);
    }
  }
  CR_TRY(machine.FillSlots(filled, deadline));
  return mounts;
}

}  // namespace cleanroom::warden
