#include "server/host/host_resources.h"

#include "image/disk.h"
#include "image/image_user.h"
#include "vmm/backends/backends.h"

namespace cleanroom::server {

HostResources::HostResources(Images& images, MachineSupply& machines, BlockingPool& pool,
                             std::filesystem::path state_dir)
    : images_(images), machines_(machines), pool_(pool), state_dir_(std::move(state_dir)) {}

Awaitable<Result<LaunchImage>> HostResources::Image(std::string ref, ProgressFn progress) {
  auto outcome = co_await images_.Pull(std::move(ref), std::move(progress));
  if (!outcome) co_return Err(std::move(outcome).error());
  LaunchImage image;
  image.path = outcome->record.rootfs;
  image.env = outcome->record.config.env;
  image.workdir = outcome->record.config.workdir;
  image.user = outcome->record.config.user;
  image.owner = co_await OwnerOf(outcome->record);
  image.was_present = outcome->was_present;
  co_return image;
}

Awaitable<CheckoutOwner> HostResources::OwnerOf(image::ImageRecord record) {
  if (record.config.user.empty()) co_return CheckoutOwner{};
  const auto known = owners_.find(record.digest);
  if (known != owners_.end()) co_return known->second;
  auto work = [record] { return image::ImageUser(record); };
  // Who is not listed in the image fails when a command is to run as them.
  const auto user = co_await pool_.Run(work);
  CheckoutOwner owner;
  if (user) owner = {.uid = user->uid, .gid = user->gid};
  owners_[record.digest] = owner;
  co_return owner;
}

Awaitable<Result<LaunchMachine>> HostResources::Machine(std::string backend, ProgressFn progress) {
  CR_CO_TRY(vmm::CheckBackendName(backend));
  auto prepared = co_await machines_.Get(std::move(progress));
  if (!prepared) co_return Err(std::move(prepared).error());
  co_return prepared->machine;
}

Awaitable<Result<void>> HostResources::MakeDisk(std::string path, int64_t mib) {
  const auto bytes = static_cast<uint64_t>(mib) << 20;
  auto work = [bytes, path] { return image::MakeEmptyDisk(bytes, path); };
  auto made = co_await pool_.Run(work);
  co_return made;
}

Result<HostRoom> HostResources::Room() { return ReadHostRoom(state_dir_); }

}  // namespace cleanroom::server
