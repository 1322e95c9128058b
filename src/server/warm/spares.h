// Spares: what waits in memory for the templates in use. Machines that run and wait for an owner,
// and, of each emulated kind, one that is held: paused, with all its code translated, for machines
// to be forked from.
//
// They are made one at a time while no sandbox is being created, within a budget of memory, and go
// when their template has not been used for a while or the host runs short. One is handed out once:
// it leaves the list before anybody hears of it, and its warden takes one launch. A spare of a
// control plane that has died ends by itself, because its warden sees the connection close.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/async.h"
#include "server/warm/templates.h"
#include "server/warm/warm_start.h"

namespace cleanroom::server {

class Spares : public WarmStart {
 public:
  // What it is given outlives it.
  Spares(asio::any_io_executor executor, Templates& templates, LaunchResources& resources,
         BlockingPool& pool, const Settings& settings, const Layout& layout, WallClock clock);

  std::optional<Spare> Claim(const store::SandboxRecord& wanted) override;
  void Discard(Spare spare) override;
  std::optional<Origin> FindHeld(const MachineShape& shape) override;
  void DropHeld(const MachineShape& shape) override;
  Awaitable<std::optional<vmm::Template>> Find(MachineShape shape) override;
  Awaitable<void> Distrust(MachineShape shape) override;
  void Launched(const MachineShape& shape) override;

  // Keeps the pool filled until Shutdown. `busy`: whether to wait, for others are being served.
  void Start(std::function<bool()> busy);
  // Ends those of this image, or all.
  void Drain(const std::optional<std::string>& image_digest);
  // Ends those of this template.
  void DrainTemplate(const std::string& key);
  size_t size() const { return waiting_.size(); }
  // Ends all of them and waits for it.
  Awaitable<void> Shutdown();

 private:
  struct Kind {
    MachineShape shape;
    std::chrono::steady_clock::time_point used;
  };
  struct Waiting {
    std::string key;
    Purpose purpose;
    Spare spare;
  };
  struct Lack {
    std::string key;
    Purpose purpose;
  };
  Awaitable<void> Keep(std::function<bool()> busy);
  // What is lacking, for the kind first that was used last.
  std::optional<Lack> Lacking() const;
  // Whether those who got a machine last have had time to use it.
  bool Served() const;
  // Has a template made once they have.
  Awaitable<void> WantTemplate(MachineShape shape);
  void DropUnused();
  void DiscardIf(const std::function<bool(const Waiting&)>& goes);
  size_t Budget() const;
  size_t Count(const std::string& key, Purpose purpose) const;
  Awaitable<void> Add(Lack lack, MachineShape shape);
  // From the held machine, or the template; nothing when that is gone.
  Awaitable<std::optional<Origin>> FindOrigin(Lack lack, MachineShape shape);
  Awaitable<Result<void>> Prepare(Spare& spare, Origin from, Purpose purpose);
  Awaitable<void> Watch(SandboxId id,
                        rpc::ClientStream<pb::PrepareMachineRequest, pb::LaunchEvent> events);
  Awaitable<void> End(Spare spare);

  asio::any_io_executor executor_;
  Templates& templates_;
  LaunchResources& resources_;
  BlockingPool& pool_;
  const Settings& settings_;
  const Layout& layout_;
  WallClock clock_;
  TaskScope tasks_;
  TaskScope ends_;  // not cancelled
  Notifier changed_;
  std::map<std::string, Kind> kinds_;
  std::list<Waiting> waiting_;
  // Of a series of launches that follow each other closely.
  std::chrono::steady_clock::time_point first_launch_{};
  std::chrono::steady_clock::time_point last_launch_{};
  bool stopping_ = false;
};

}  // namespace cleanroom::server
