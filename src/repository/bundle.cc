#include "repository/bundle.h"

#include <fmt/format.h>

#include "base/sha256/sha256.h"
#include "git/ref_name.h"
#include "os/file.h"

namespace cleanroom::repository {

Result<BundleHeader> CheckBundle(const Bundle& bundle) {
  if (bundle.format != kBundleFormat) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("the bundle has the format {}, of which this daemon knows only {}",
                           bundle.format.substr(0, 64), kBundleFormat));
  }
  if (bundle.bytes.size() > kMaxBundleBytes) {
    return Err(Error(ErrorCode::kResourceExhausted,
                     fmt::format("the local commits take {} bytes; at most {} are taken",
                                 bundle.bytes.size(), kMaxBundleBytes))
                   .Remedy("Push the commits"));
  }
  if (!git::IsFullId(bundle.target))
    return Err(ErrorCode::kInvalidArgument, "the bundle's target is no full id of a commit");
  if (Sha256Hex(bundle.bytes) != bundle.digest)
    return Err(ErrorCode::kDataCorrupt, "the bundle does not have the digest that was said");
  CR_TRY_ASSIGN(BundleHeader header, ParseBundleHeader(bundle.bytes));
  if (header.tip != bundle.target)
    return Err(ErrorCode::kDataCorrupt, "the bundle does not have the commit that it is for");
  return header;
}

Result<VerifiedBundle> VerifyBundle(const git::Mirror& mirror, const Bundle& bundle,
                                    const git::Control& control) {
  CR_TRY_ASSIGN(const BundleHeader header, CheckBundle(bundle));
  CR_TRY_ASSIGN(git::ScratchRepository scratch,
                git::ScratchRepository::Create(mirror, git::ObjectFormatOf(bundle.target),
                                               git::ScratchRepository::Refs::kOfMirror, control));
  const std::string file = (scratch.folder() / "commits.bundle").string();
  CR_TRY(os::WriteFileAtomic(file, bundle.bytes));
  const git::Mirror& repository = scratch.repository();
  const git::Git& git = repository.git();
  CR_TRY_ASSIGN(
      const git::Git::Answer verified,
      git.LocalAnswer({.args = {"bundle", "verify", file}, .git_dir = repository.path()}, control));
  if (!verified.status.ok()) {
    const bool lacks = verified.stderr_text.find("prerequisite") != std::string::npos;
    return Err(Error(lacks ? ErrorCode::kFailedPrecondition : ErrorCode::kDataCorrupt,
                     lacks ? "the local commits build on commits that the remote does not have"
                           : fmt::format("the bundle is damaged: {}", verified.stderr_text))
                   .Remedy(lacks ? "Fetch from the remote, or push the branch that they build on"
                                 : "Send it again"));
  }
  // As `git bundle unbundle`, which checks no objects.
  auto unpacked = git.Local({.args = {"index-pack", "--stdin", "--fix-thin", "--fsck-objects"},
                             .git_dir = repository.path(),
                             .input = std::string(bundle.bytes.substr(header.pack)),
                             .max_file_bytes = 64 * kMaxBundleBytes},
                            control);
  if (!unpacked) return Err(std::move(unpacked).error().Context("the bundle is damaged"));
  CR_TRY_ASSIGN(const std::optional<std::string> commit,
                repository.FindCommit(bundle.target, control));
  if (!commit || *commit != bundle.target)
    return Err(ErrorCode::kDataCorrupt, "the bundle does not have the commit that it is for");
  // All that the commit reaches must be there, of the bundle or the mirror.
  CR_TRY(git.Local({.args = {"rev-list", "--objects", "--quiet", bundle.target, "--not", "--all"},
                    .git_dir = repository.path()},
                   control));
  return VerifiedBundle{std::move(scratch), bundle.target, bundle.digest};
}

}  // namespace cleanroom::repository
