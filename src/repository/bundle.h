// Commits that the remote does not have, as a user sends them: a git bundle. Hostile bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "git/scratch_repository.h"

namespace cleanroom::repository {

struct Bundle {
  std::string target;      // full id of the commit that is wanted of it
  std::string digest;      // SHA-256 of bytes, in hexadecimal digits
  std::string_view bytes;  // lives as long as the call
};

inline constexpr uint64_t kMaxBundleBytes = 64ull << 20;

struct VerifiedBundle {
  git::ScratchRepository repository;  // has the mirror's objects and the bundle's
  std::string commit;
  std::string digest;
};

// resource_exhausted when it is too large; data_corrupt when the digest or the bundle is not right, or
// its target is not in it; failed_precondition when it builds on commits that the mirror does not have.
Result<VerifiedBundle> VerifyBundle(const git::Mirror& mirror, const Bundle& bundle,
                                    const git::Control& control);

}  // namespace cleanroom::repository
