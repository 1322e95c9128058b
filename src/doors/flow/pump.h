// Pump: moves the bytes of one direction of a connection with splice(2), without copying them to
// this process. A pipe is held only while it has bytes in it: an idle connection costs none.
//
// What waits in pipes is kernel memory that a guest can claim by not reading. PipePool bounds it:
// the more pipes are in use, the smaller new ones are, and beyond the budget bytes are copied
// through one shared buffer instead, of which nothing is held between two steps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/async.h"
#include "doors/flow/stream.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {

struct Pipe {
  os::UniqueFd read;
  os::UniqueFd write;
  size_t capacity = 0;  // bytes
};

class PipePool {
 public:
  static constexpr size_t kLargePipe = 1 << 20;
  static constexpr size_t kMediumPipe = 256 << 10;
  static constexpr size_t kSmallPipe = 64 << 10;
  // Large pipes while at most kLargeBudget bytes of pipes are in use, medium ones up to
  // kMediumBudget, small ones up to kBudget, then none.
  static constexpr size_t kLargeBudget = 4 << 20;
  static constexpr size_t kMediumBudget = 12 << 20;
  static constexpr size_t kBudget = 32 << 20;
  static constexpr size_t kSpare = 4;  // empty pipes kept for the next use

  // An empty pipe; one without descriptors when the budget is spent or the system has none.
  Pipe Take();
  // Gives an empty pipe back, or one that is to be closed with what it holds.
  void Return(Pipe pipe, size_t held);

  size_t in_use_bytes() const { return in_use_; }
  size_t spare() const { return spare_.size(); }

  std::array<char, 64 << 10>& scratch() { return scratch_; }

 private:
  std::vector<Pipe> spare_;
  size_t in_use_ = 0;
  std::array<char, 64 << 10> scratch_;
};

struct Progress {
  uint64_t moved = 0;  // bytes written to the destination
  size_t held = 0;     // bytes read and not yet written
};

// Until `from` ends (true) or either side breaks (false). The references outlive the call.
Awaitable<bool> Pump(Stream& from, Stream& to, PipePool& pool, Progress& progress);

}  // namespace cleanroom::doors
