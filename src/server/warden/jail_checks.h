// What `doctor` says of the jail: each layer, whether this host has it, and what to do when not.
#pragma once

#include <vector>

#include "base/async.h"
#include "server/check_source.h"
#include "server/settings.h"

namespace cleanroom::server {

class JailChecks final : public CheckSource {
 public:
  // Both outlive it.
  JailChecks(const Settings& settings, BlockingPool& pool) : settings_(settings), pool_(pool) {}

  // Starts a warden that only inspects itself (warden/jail_check), in a folder that it makes and
  // removes; some 20 ms.
  Awaitable<std::vector<capability::Check>> Checks() override;

 private:
  const Settings& settings_;
  BlockingPool& pool_;
};

}  // namespace cleanroom::server
