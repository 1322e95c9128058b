// TrackedSandboxes: which sandbox was made under which key, in one small JSON file of the user.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/file.h"

namespace cleanroom::client {

// Holds the file's lock while it lives.
class TrackedSandboxes {
 public:
  // `folder` is made when missing. Waits for another holder. data_corrupt when the file is none of ours.
  static Result<TrackedSandboxes> Open(const std::string& folder);

  // The id under `key`; empty when there is none.
  std::string Find(std::string_view key) const;
  // Written before it returns.
  Result<void> Set(std::string_view key, const std::string& sandbox_id);

 private:
  TrackedSandboxes(std::string path, os::FileLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  os::FileLock lock_;
  std::map<std::string, std::string, std::less<>> ids_;
};

// The folder for them: `client` in the state folder (config/paths.h).
Result<std::string> TrackedSandboxesFolder();

}  // namespace cleanroom::client
