// Commits that the remote does not have, as a user sends them: a git bundle. Hostile bytes: git takes
// them apart in a local run (git/run.h), with its checks of every object on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "git/scratch_repository.h"
#include "repository/bundle_header.h"

namespace cleanroom::repository {

inline constexpr std::string_view kBundleFormat = "git-bundle-v1";

struct Bundle {
  std::string format;
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

// What can be said of it without a repository. resource_exhausted when it is too large; data_corrupt
// when the digest or its head is not right, or its target is not what it has.
Result<BundleHeader> CheckBundle(const Bundle& bundle);

// The same; data_corrupt also when its objects are not right or not all there; failed_precondition when
// it builds on commits that the mirror does not have.
Result<VerifiedBundle> VerifyBundle(const git::Mirror& mirror, const Bundle& bundle,
                                    const git::Control& control);

}  // namespace cleanroom::repository
