// Remover: rm -r in steps, following no link.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::tree {

class Remover {
 public:
  // Of `name`, one component, in the folder. `shown` is its path in errors.
  Remover(os::UniqueFd folder, std::string name, std::string shown);

  // Removes some more; false when nothing is left to do. not_found when there was nothing;
  // failed_precondition where something is mounted, or, without `recursive`, for a folder that is
  // not empty.
  Result<bool> Step(bool recursive);

 private:
  struct Folder {
    os::UniqueFd fd;
    std::string name;  // in the folder above
    std::vector<std::string> names{};
    size_t next = 0;
  };

  Result<void> Enter(int parent, const std::string& name);
  Result<bool> RemoveOne();
  std::string Path() const;

  os::UniqueFd top_;
  std::string name_;
  std::string shown_;
  bool begun_ = false;
  std::vector<Folder> folders_;
};

}  // namespace cleanroom::tree
