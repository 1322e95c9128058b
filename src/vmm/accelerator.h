// Which accelerator a host's VMs use.
//
// That /dev/kvm exists, opens and makes VMs proves nothing: a software KVM does all that and runs a
// guest a hundred times too slowly. So KVM is used when the processor shows vmx or svm and a real
// boot under it has answered within a short deadline. The verdict of that boot is remembered per
// boot of the host, kernel and VMM build.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
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

// Whether the text of /proc/cpuinfo lists vmx or svm among the flags.
bool ShowsVirtualization(std::string_view cpuinfo);

struct AcceleratorDecision {
  Accelerator accelerator = Accelerator::kTcg;
  std::string reason;  // one sentence for people
};

// Boots a machine under KVM; the error says how it failed.
using BootProbe = std::function<Result<void>()>;

// Where the verdict of the probe is kept.
struct VerdictStore {
  std::string path;  // one file; a damaged or foreign one counts as none
  std::string key;   // what the verdict holds for: MakeVerdictKey
};
// Of the host's boot, the kernel's digest and the VMM binary (its path, size and time).
Result<std::string> MakeVerdictKey(std::string_view kernel_digest, const std::string& vmm_binary);

// Decides. Fast unless a probe must run. An explicit kvm that cannot be used is backend_unavailable
// with the reason; auto then means TCG.
Result<AcceleratorDecision> ChooseAccelerator(AcceleratorChoice choice, const KvmFacts& facts,
                                              const VerdictStore& store, const BootProbe& probe);

}  // namespace cleanroom::vmm
