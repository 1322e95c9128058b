// The images this host has: one folder each, `images/sha256-<hex>/` in the cache folder, holding
//   rootfs.ext4  the merged layers, read-only, shared by all sandboxes of the image
//   image.json   the record
// An image is there whole or not at all: it is built under tmp/ and renamed into place. What a
// killed process left in tmp/ goes when a store is next opened. Any number of threads and processes
// may use one folder; building the same image twice is prevented by a lock per digest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/image_ref.h"
#include "base/result.h"
#include "os/scratch.h"
#include "registry/manifest.h"

namespace cleanroom::image {

struct ImageRecord {
  std::string digest;  // the image's identity: what a pinned reference names (index or manifest)
  std::string manifest_digest;    // the manifest that was unpacked
  std::vector<std::string> refs;  // HOST/REPOSITORY[:TAG] under which it was pulled or imported
  registry::ImageConfig config;
  std::vector<registry::Descriptor> layers;
  uint64_t disk_bytes = 0;       // room that rootfs.ext4 takes on the host
  int64_t pulled_at = 0;         // seconds since 1970
  std::filesystem::path rootfs;  // absolute; not in the file

  // HOST/REPOSITORY@DIGEST, from the first of refs.
  std::string Pinned() const;
};

class ImageStore {
 public:
  // Makes the folders.
  static Result<ImageStore> Open(const std::filesystem::path& cache_folder);

  // Sorted by digest. Folders without a readable record are left out.
  Result<std::vector<ImageRecord>> List() const;

  // By "sha256:…", or by a reference: its digest when it has one, else the image that
  // HOST/REPOSITORY[:TAG] (tag "latest" when there is none) was last pulled or imported as.
  // A short name is what was imported under it, else what Docker Hub calls so. not_found says how
  // to get it.
  Result<ImageRecord> Get(std::string_view ref_or_digest) const;
  std::optional<ImageRecord> Find(const std::string& digest) const;

  // Removes an image. failed_precondition when `in_use` says so (asked under the image's lock);
  // not_found.
  using InUseFn = std::function<bool(const ImageRecord&)>;
  Result<ImageRecord> Remove(std::string_view ref_or_digest, const InUseFn& in_use,
                             const std::stop_token& stop);

  // For pull and import. Lock, look with Find, build in a TempFolder, then Commit.
  Result<os::StoppableLock> Lock(const std::string& digest, const std::stop_token& stop) const;
  Result<os::TempFolder> MakeTemp() const;
  // `built` holds rootfs.ext4, synced. Writes the record beside it and moves both into place; the
  // lock is held.
  Result<ImageRecord> Commit(ImageRecord record, const os::TempFolder& built) const;
  // Makes `ref` name the image `digest`, and no other image any more. The lock of `digest` is held.
  Result<ImageRecord> AddRef(const std::string& digest, const ImageRef& ref,
                             const std::stop_token& stop) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  explicit ImageStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path ImageFolder(const std::string& digest) const;
  std::filesystem::path folder_;
};

// The spelling under which refs are kept: without digest, and with the tag "latest" when it has
// none; a reference with a digest alone is kept as HOST/REPOSITORY.
std::string StoredRef(const ImageRef& ref);

std::string RecordToJson(const ImageRecord& record);
Result<ImageRecord> RecordFromJson(std::string_view json);

}  // namespace cleanroom::image
