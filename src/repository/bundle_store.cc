#include "repository/bundle_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/image_ref.h"
#include "base/sha256/sha256.h"
#include "os/file.h"
#include "repository/bundle.h"

namespace cleanroom::repository {

Result<BundleStore> BundleStore::Open(std::filesystem::path folder) {
  CR_TRY(os::MakeDirs(folder.string(), 0700));
  return BundleStore(std::move(folder));
}

Result<std::string> BundleStore::PathOf(const std::string& digest) const {
  if (!IsSha256Digest("sha256:" + digest))
    return Err(ErrorCode::kInvalidArgument, "not the digest of a bundle");
  return (folder_ / digest).string();
}

Result<void> BundleStore::Put(const std::string& digest, std::string_view bytes) const {
  CR_TRY_ASSIGN(const std::string path, PathOf(digest));
  if (Read(digest)) return {};
  return os::WriteFileAtomic(path, bytes);
}

Result<std::string> BundleStore::Read(const std::string& digest) const {
  CR_TRY_ASSIGN(const std::string path, PathOf(digest));
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  auto bytes = os::ReadFile(path, kMaxBundleBytes);
  if (!bytes && bytes.error().code() == ErrorCode::kNotFound) {
    return Err(Error(ErrorCode::kNotFound, "the local commits of the checkout are gone")
                   .Remedy("Make a new sandbox of them, with --copy-in"));
  }
  if (!bytes) return Err(std::move(bytes).error());
  if (Sha256Hex(*bytes) != digest)
    return Err(ErrorCode::kDataCorrupt, "the local commits of the checkout are damaged: " + path);
  return bytes;
}

}  // namespace cleanroom::repository
