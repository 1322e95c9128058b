#include "guest/exec/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cleanroom::guest {

void CgroupTree::Group::Kill() const {
  if (!fd_) return;
  const os::UniqueFd file(openat(fd_.get(), "cgroup.kill", O_WRONLY | O_CLOEXEC));
  if (file) (void)!write(file.get(), "1", 1);
}

CgroupTree::Group CgroupTree::Create() { return ready_.fd_ ? std::exchange(ready_, {}) : Make(); }

CgroupTree::Group CgroupTree::Make() {
  Group group;
  group.path_ = fmt::format("{}/x-{}", path_, next_++);
  if (mkdir(group.path_.c_str(), 0755) != 0) return {};
  group.fd_ = os::UniqueFd(open(group.path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return group;
}

void CgroupTree::Remove(Group group) {
  if (group.fd_) lingering_.push_back(std::move(group.path_));
  std::erase_if(lingering_,
                [](const std::string& path) { return rmdir(path.c_str()) == 0 || errno != EBUSY; });
  if (!ready_.fd_) ready_ = Make();
}

}  // namespace cleanroom::guest
