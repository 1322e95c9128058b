// SHA-256 digests in the OCI spelling, "sha256:<64 lower-case hex>". base/image_ref.h has the check
// of one that comes from outside: it passes that before it becomes part of a path or a URL.
#pragma once

#include <string>
#include <string_view>

#include "base/sha256/sha256.h"

namespace cleanroom {

// The digest of all that was added to `hash`, which is then used up.
std::string FinishDigest(Sha256& hash);

std::string DigestOf(std::string_view data);

}  // namespace cleanroom
