// Walk: goes through a tree, the folder before what is in it, sorted by bytes. No link is followed.
//
// What is added or goes meanwhile may be missed; what has gone is passed over. Folders of virtual
// file systems are found, but not entered.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"
#include "tree/data_mounts.h"

namespace cleanroom::tree {

struct WalkLimits {
  size_t max_entries = 1'000'000;
  size_t max_depth = 256;  // each holds a descriptor
};

class Walk {
 public:
  struct Found {
    std::string path;  // from the start: "" for the start itself, then "a", "a/b"
    int folder_fd = -1;
    std::string name;  // in that folder; "." for a start that is a folder's descriptor
    struct stat info = {};
    // Whether it lies where its contents may be read.
    bool has_data = true;
  };

  // Begins with `name` in the folder, which stays open while this lives; "." is the folder itself.
  Walk(int folder_fd, std::string name, Mounts mounts, WalkLimits limits = {});

  // The next one, valid until the next call; null at the end. not_found when the start is not
  // there; resource_exhausted beyond the limits.
  Result<const Found*> Next();

 private:
  struct Folder {
    os::UniqueFd fd;
    dev_t device = 0;
    size_t path_size = 0;  // of the path to it
    std::vector<std::string> names{};
    size_t next = 0;
  };

  Result<void> Enter();
  // False when it has gone.
  Result<bool> Look(int folder_fd, const std::string& name, dev_t folder_device);

  DataMounts mounts_;
  const WalkLimits limits_;
  size_t seen_ = 0;  // names that were read
  bool begun_ = false;
  std::vector<Folder> folders_;
  Found found_;
};

}  // namespace cleanroom::tree
