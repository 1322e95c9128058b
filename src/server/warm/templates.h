// Templates: makes and finds the saved machines that sandboxes start from. Two who want the same
// one share the work, and one is made at a time.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async.h"
#include "server/launch/launch_resources.h"
#include "server/layout.h"
#include "server/settings.h"
#include "server/warden/warden_link.h"
#include "vmm/template_store.h"

namespace cleanroom::server {

class Templates {
 public:
  // What it is given outlives it.
  Templates(asio::any_io_executor executor, LaunchResources& resources, BlockingPool& pool,
            const Settings& settings, const Layout& layout, WallClock clock);

  // The template of this shape, whole. The first time in this process it is read through, which
  // takes some 100 ms; a damaged one is removed.
  Awaitable<std::optional<vmm::Template>> Find(MachineShape shape);
  // Finds or makes it. Cancelling the task gives up the wait only.
  Awaitable<Result<vmm::Template>> Make(MachineShape shape);
  // Begins to make it in the background, unless that failed a short while ago.
  void Want(const MachineShape& shape);
  // Whether one is known to be there, so that nobody need want it.
  bool Has(const MachineShape& shape) const;
  // Whether it is being made.
  bool making() const { return !jobs_.empty(); }
  // Notified when that ends.
  Notifier& changed() { return changed_; }

  Awaitable<Result<std::vector<vmm::TemplateStore::Entry>>> List();
  Awaitable<Result<void>> Remove(std::string key);
  // Removes those of this image; one that is being made goes when it is done.
  Awaitable<Result<void>> RemoveOf(std::string image_digest);
  // Removes what was made for another machine than this (LaunchMachine::identity).
  Awaitable<void> RemoveStale(std::string machine);

  // Ends what is being made and waits for it.
  Awaitable<void> Shutdown();

 private:
  struct Job {
    MachineShape shape;
    std::optional<Result<vmm::Template>> outcome;
    bool unwanted = false;  // its image went meanwhile
  };
  std::shared_ptr<Job> Begin(const MachineShape& shape);
  Awaitable<void> Run(std::shared_ptr<Job> job);
  // Returns when nobody else works on the folder; at once when the daemon stops.
  Awaitable<void> TakeTurn();
  Awaitable<Result<vmm::Template>> MakeNow(const MachineShape& shape);
  Result<void> CheckRoom(const MachineShape& shape) const;
  // In the folder of a sandbox that nobody will see.
  Awaitable<Result<void>> SaveMachine(const SandboxId& id, const MachineShape& shape);

  asio::any_io_executor executor_;
  LaunchResources& resources_;
  BlockingPool& pool_;
  const Settings& settings_;
  const Layout& layout_;
  WallClock clock_;
  vmm::TemplateStore store_;
  TaskScope tasks_;
  Notifier changed_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;  // by key
  bool busy_ = false;
  bool stopping_ = false;
  std::set<std::string> verified_;
  std::map<std::string, std::chrono::steady_clock::time_point> failed_;
};

}  // namespace cleanroom::server
