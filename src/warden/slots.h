// Slots: the files that a running sandbox is given, in the slots of its machine.
#pragma once

#include <chrono>
#include <vector>

#include "base/result.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "os/unique_fd.h"
#include "warden/running_machine.h"

namespace cleanroom::warden {

namespace pb = ::cleanroom::internal::v1;

class Slots {
 public:
  // The control plane sends descriptors over the socket before it asks for them to be attached.
  // None: nothing can be attached.
  explicit Slots(os::UniqueFd handover);

  // Puts the layers of the request into slots that have not been used, and answers what the guest
  // is to mount. resource_exhausted when there are not enough, failed_precondition when the
  // descriptors have not come. Blocks for some milliseconds.
  Result<std::vector<pb::MountRequest>> Fill(const pb::AttachRequest& request,
                                             RunningMachine& machine,
                                             std::chrono::steady_clock::time_point deadline);

 private:
  Result<std::vector<os::UniqueFd>> Receive(int count);

  os::UniqueFd handover_;
  int used_ = 0;
};

}  // namespace cleanroom::warden
