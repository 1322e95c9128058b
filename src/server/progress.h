// Progress of long work, as the control plane passes it on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace cleanroom::server {

// One step of progress, for people; bytes, 0 total: unknown.
struct ProgressUpdate {
  std::string phase;
  std::string message;
  int64_t done = 0;
  int64_t total = 0;
};
// Called on the control plane's thread.
using ProgressFn = std::function<void(ProgressUpdate)>;

}  // namespace cleanroom::server
