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
#include "server/admission.h"

namespace cleanroom::server {

// One step of progress, for people; bytes, 0 total: unknown.
struct ProgressUpdate {
  std::string phase;
  std::string message;
  int64_t done = 0;
  int64_t total = 0;
};
// Called on the control plane's thread.
using ProgressFn = std::function<void(ProgressUpdate)>;

// An image as a machine takes it.
struct LaunchImage {
  std::string path;  // ext4
  std::vector<std::string> env;
  std::string workdir;
  std::string user;
  bool was_present = false;  // not pulled for this launch
};

struct LaunchMachine {
  std::string vmm_path;
  std::string kernel_path;
  std::string initrd_path;
  std::string accelerator;  // "kvm" or "tcg"
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
