// What `doctor` says of the host itself: its VMM and accelerator, and its room.
#pragma once

#include <string>
#include <vector>

#include "base/async.h"
#include "server/check_source.h"
#include "server/host/machine_supply.h"
#include "server/layout.h"

namespace cleanroom::server {

class VmmChecks final : public CheckSource {
 public:
  // All of it outlives this.
  VmmChecks(const MachineConfig& config, const std::string& default_backend, BlockingPool& pool)
      : config_(config), default_backend_(default_backend), pool_(pool) {}
  Awaitable<std::vector<capability::Check>> Checks() override;

 private:
  const MachineConfig& config_;
  const std::string& default_backend_;
  BlockingPool& pool_;
};

// Memory and disk for one more sandbox.
class RoomChecks final : public CheckSource {
 public:
  explicit RoomChecks(const Layout& layout) : layout_(layout) {}
  Awaitable<std::vector<capability::Check>> Checks() override;

 private:
  const Layout& layout_;
};

}  // namespace cleanroom::server
