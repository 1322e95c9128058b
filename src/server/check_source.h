// CheckSource: an owner of something that `cleanroom doctor` reports on. Like owners of stored things
// and of metrics it is told to who asks for all; nobody knows them by heart but ControlPlane.
#pragma once

#include <vector>

#include "base/async.h"
#include "capability/check.h"

namespace cleanroom::server {

class CheckSource {
 public:
  virtual ~CheckSource() = default;
  // What it finds now. May take seconds; blocking work goes to a pool.
  virtual Awaitable<std::vector<capability::Check>> Checks() = 0;
};

}  // namespace cleanroom::server
