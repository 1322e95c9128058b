// SHA-256 in hexadecimal, for keys of caches and manifests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cleanroom::vmm {

std::string Sha256(std::string_view data);

// The digest of the parts' lengths and contents: no two lists of parts share it.
std::string Sha256(const std::vector<std::string_view>& parts);

}  // namespace cleanroom::vmm
