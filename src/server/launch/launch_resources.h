// LaunchResources: what a launch needs from the host besides a warden. Implemented by
// HostResources; an interface so that the life of sandboxes can be tested without images and
// kernels.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/result.h"
#include "server/launch/admission.h"
#include "server/launch/checkouts.h"
#include "server/progress.h"

namespace cleanroom::server {

// An image as a machine takes it.
struct LaunchImage {
  std::string path;  // ext4
  std::vector<std::string> env;
  std::string workdir;
  std::string user;
  CheckoutOwner owner;       // the same user, in numbers
  bool was_present = false;  // not pulled for this launch
};

// What only QEMU needs.
struct LaunchQemu {
  std::string preload_path;  // to copy a template, and to be held (vmm/qemu/preload)
};

struct LaunchMachine {
  std::string vmm_path;
  std::string kernel_path;
  std::string initrd_path;
  std::string accelerator;  // "kvm" or "tcg"
  bool can_hold = false;    // vmm::Backend::CanHold
  LaunchQemu qemu;
  uint64_t tsc_khz = 0;  // the host's; 0: each warden measures it
  std::string identity;  // vmm::MachineIdentity; empty: no templates
};

// What a machine is made of, but for its disk's contents.
struct MachineShape {
  std::string backend;
  std::string image_digest;
  LaunchImage image;
  LaunchMachine machine;
  int32_t vcpus = 0;
  int64_t memory_mib = 0;
  int64_t disk_mib = 0;
};

class LaunchResources {
 public:
  virtual ~LaunchResources() = default;
  // Keeps the image of this digest, present or not yet, from being removed as long as the answer
  // lives.
  virtual std::shared_ptr<void> UseImage(const std::string& digest) = 0;
  // Pulls the image when it is missing; callers that want the same one share the work. Cancelling
  // the task gives up this caller's wish, and the work with the last one.
  virtual Awaitable<Result<LaunchImage>> Image(std::string ref, ProgressFn progress) = 0;
  // Kernel, initramfs, VMM and accelerator, made ready on first use.
  virtual Awaitable<Result<LaunchMachine>> Machine(std::string backend, ProgressFn progress) = 0;
  // Makes the sandbox's writable disk: sparse, formatted, empty.
  virtual Awaitable<Result<void>> MakeDisk(std::string path, int64_t mib) = 0;
  virtual Result<HostRoom> Room() = 0;
};

}  // namespace cleanroom::server
