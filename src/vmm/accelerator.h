// Which accelerator a host's VMs use.
//
// That /dev/kvm exists, opens and makes VMs proves nothing: a software KVM does all that and runs a
// guest a hundred times too slowly. So KVM is used when the processor shows vmx or svm and a real
// boot under it has answered within a short deadline. Whoever asks for KVM by name waits for that
// boot as long as for any other. Its verdict is remembered per boot of the host, kernel and VMM
// build.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "capability/check.h"
#include "vmm/backend.h"

namespace cleanroom::vmm {

enum class AcceleratorChoice { kAuto, kKvm, kTcg };

// "auto", "kvm" or "tcg"; invalid_argument otherwise.
Result<AcceleratorChoice> ParseAcceleratorChoice(std::string_view text);

struct KvmFacts {
  bool processor = false;      // it shows vmx or svm
  std::string device_problem;  // why /dev/kvm cannot be opened; empty: it can
};
KvmFacts ReadKvmFacts();

// What `doctor` says of it before a machine has run: what the choice comes to on such a host.
capability::Check CheckAccelerator(AcceleratorChoice choice, const KvmFacts& facts);

// Whether the text of /proc/cpuinfo lists vmx or svm among the flags.
bool ShowsVirtualization(std::string_view cpuinfo);

struct AcceleratorDecision {
  Accelerator accelerator = Accelerator::kTcg;
  std::string reason;  // one sentence for people
};

// How long the trial may take. `launch_limit` is what the config allows any boot; with auto it is
// not asked: a boot under a KVM that deserves the name takes a fraction of the short deadline.
std::chrono::milliseconds TrialLimit(AcceleratorChoice choice,
                                     std::chrono::milliseconds launch_limit);

// Boots a machine under KVM within the limit, and says what that took; the error says how it
// failed, and is deadline_exceeded only when the time was over.
using BootProbe = std::function<Result<std::chrono::milliseconds>(std::chrono::milliseconds limit)>;

// Where the verdict of the probe is kept.
struct VerdictStore {
  std::string path;  // one file; a damaged or foreign one counts as none
  std::string key;   // what the verdict holds for: MakeVerdictKey
};
// Where the control plane with that folder keeps it.
std::string VerdictPath(const std::filesystem::path& state_dir);
// Removes what a process that was killed had half written beside that file (os::WriteFileAtomic).
void RemoveVerdictDrafts(const std::filesystem::path& state_dir);

// Of the host's boot, the kernel's digest and the VMM binary (its path, size and time).
Result<std::string> MakeVerdictKey(std::string_view kernel_digest, const std::string& vmm_binary);

// Decides. Fast unless a probe must run. An explicit kvm that cannot be used is backend_unavailable
// with the reason; auto then means TCG. A remembered boot that took longer than `limit`, and one
// that was given up sooner, say nothing: the probe runs again.
Result<AcceleratorDecision> ChooseAccelerator(AcceleratorChoice choice, const KvmFacts& facts,
                                              const VerdictStore& store,
                                              std::chrono::milliseconds limit,
                                              const BootProbe& probe);

}  // namespace cleanroom::vmm
