// DataMounts: which file systems hold data, and which only look like it.
//
// Files of proc, sysfs, cgroup and their like may block, never end or do things when they are read
// or written, and FUSE answers when a program of somebody's pleases.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>

namespace cleanroom::tree {

enum class Mounts : uint8_t {
  kData,  // the virtual ones are left alone
  kAll,
};

// Remembers what it has seen: make one for each call.
class DataMounts {
 public:
  explicit DataMounts(Mounts wanted) : wanted_(wanted) {}
  // Whether the file or folder `fd` (O_PATH does), which is on `device`, may be read and written.
  bool Allow(int fd, dev_t device);
  // What Allow would say, as far as that is known without looking.
  std::optional<bool> Known(dev_t device) const;

 private:
  Mounts wanted_;
  std::map<dev_t, bool> known_;
};

}  // namespace cleanroom::tree
