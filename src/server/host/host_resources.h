// HostResources: what launches need, from this host's images, kernel and disks.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "server/host/machine_supply.h"
#include "server/images/images.h"
#include "server/launch/launch_resources.h"

namespace cleanroom::server {

class HostResources : public LaunchResources {
 public:
  // All of it outlives this.
  HostResources(Images& images, MachineSupply& machines, BlockingPool& pool,
                std::filesystem::path state_dir);

  std::shared_ptr<void> UseImage(const std::string& digest) override { return images_.Use(digest); }
  Awaitable<Result<LaunchImage>> Image(std::string ref, ProgressFn progress) override;
  Awaitable<Result<LaunchMachine>> Machine(std::string backend, ProgressFn progress) override;
  Awaitable<Result<void>> MakeDisk(std::string path, int64_t mib) override;
  Result<HostRoom> Room() override;

 private:
  Awaitable<CheckoutOwner> OwnerOf(image::ImageRecord record);

  Images& images_;
  MachineSupply& machines_;
  BlockingPool& pool_;
  std::filesystem::path state_dir_;
  std::map<std::string, CheckoutOwner> owners_;  // by digest, of images that name a user
};

}  // namespace cleanroom::server
