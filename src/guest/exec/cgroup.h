// A cgroup v2 per execution, so that all of it can be killed, wherever its processes went.
#pragma once

#include <string>
#include <vector>

#include "os/unique_fd.h"

namespace cleanroom::guest {

// The groups of all executions, below one directory. Everything here does its best: without a
// cgroup file system executions have no group, and only their process group is killed.
class CgroupTree {
 public:
  // `path`: a writable cgroup v2 directory, or anything else for none.
  explicit CgroupTree(std::string path) : path_(std::move(path)) {}

  class Group {
   public:
    Group() = default;
    // A directory for CLONE_INTO_CGROUP; -1 when there is none.
    int fd() const { return fd_.get(); }
    // SIGKILL to every process in it.
    void Kill() const;

   private:
    friend class CgroupTree;
    std::string path_;
    os::UniqueFd fd_;
  };

  Group Create();
  // Removes the group, now or, if processes remain in it, at a later call; and makes the next one,
  // which its execution then need not wait for.
  void Remove(Group group);

 private:
  Group Make();

  std::string path_;
  unsigned long next_ = 1;
  Group ready_;
  std::vector<std::string> lingering_;
};

}  // namespace cleanroom::guest
