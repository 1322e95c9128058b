#include "vmm/backend.h"

namespace cleanroom::vmm {

std::string_view ToString(Accelerator accelerator) {
  return accelerator == Accelerator::kKvm ? "kvm" : "tcg";
}

}  // namespace cleanroom::vmm
