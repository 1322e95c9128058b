#include "vmm/digest.h"

#include "base/sha256/sha256.h"

namespace cleanroom::vmm {

std::string Sha256(std::string_view data) { return Sha256Hex(data); }

std::string Sha256(const std::vector<std::string_view>& parts) { return Sha256OfParts(parts); }

}  // namespace cleanroom::vmm
