#include "base/sha256/digest.h"

namespace cleanroom {

std::string FinishDigest(Sha256& hash) { return "sha256:" + hash.Finish(); }

std::string DigestOf(std::string_view data) { return "sha256:" + Sha256Hex(data); }

}  // namespace cleanroom
