#include "image/digest.h"

namespace cleanroom::image {

std::string FinishDigest(Sha256& hash) { return "sha256:" + hash.Finish(); }

std::string DigestOf(std::string_view data) { return "sha256:" + Sha256Hex(data); }

}  // namespace cleanroom::image
