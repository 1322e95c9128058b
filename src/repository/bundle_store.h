// The bundles that this host's sandboxes began with: one file each in a folder, by its digest. A bundle
// is put here when it is verified, and read again for every layer that is made of it, also by a daemon
// that was started meanwhile.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::repository {

class BundleStore {
 public:
  // Makes the folder, which nobody else on the host may read.
  static Result<BundleStore> Open(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  // One that is here already is used again.
  Result<void> Put(const std::string& digest, std::string_view bytes) const;
  // Counts as a use: the file's time of modification is when it was last used. not_found when it is
  // not here (any more); data_corrupt when it is not what its name says.
  Result<std::string> Read(const std::string& digest) const;

 private:
  explicit BundleStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
  Result<std::string> PathOf(const std::string& digest) const;
  std::filesystem::path folder_;
};

}  // namespace cleanroom::repository
