// LiveSandbox: one sandbox from its record to its end.
//
//   state         what may follow           who causes it
//   PROVISIONING  SETUP, READY              Create: the launcher has a machine
//                 STOPPING, FAILED          RequestStop; the launch failed
//   SETUP         READY                     Create: all steps have succeeded
//                 STOPPING, FAILED          RequestStop; a step failed, or the machine ended
//   READY         STOPPING, FAILED          RequestStop; the machine or its warden ended
//   STOPPING      STOPPED                   End: nothing of it is left
//   STOPPED, FAILED                         final: the record never changes again
//
// SETUP is passed over where there are no steps. A control plane that
// starts again takes over what is READY, and settles everything else (Sandboxes::Recover).
//
// One coroutine (Create or Adopt) makes every change of its state, persists it, and only then tells
// it through changed(). Others ask: RequestStop. Shared between that coroutine, the registry and
// the calls that use it; what a call holds stays valid after the sandbox's end, when the channel
// answers kUnavailable.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/client.h"
#include "server/launch/launch_plan.h"
#include "server/sandboxes/launcher.h"
#include "server/sandboxes/sandbox_context.h"
#include "server/warm/warm_start.h"
#include "store/records.h"

namespace cleanroom::server {

namespace pb = ::cleanroom::internal::v1;

class LiveSandbox;

// Told of the moments that concern others. Outlives every sandbox.
class SandboxObserver {
 public:
  virtual ~SandboxObserver() = default;
  // The sandbox runs commands from now on; also after a restart of the control plane found it
  // again.
  virtual void OnReady(const std::shared_ptr<LiveSandbox>& sandbox) = 0;
  // The warden is gone and the folder is about to be.
  virtual Awaitable<void> OnEnding(LiveSandbox& sandbox) = 0;
  // The final state is on record.
  virtual void OnEnded(const LiveSandbox& /*sandbox*/) {}
};

// Tells several, in order.
class SandboxObservers : public SandboxObserver {
 public:
  // Outlives this.
  void Add(SandboxObserver& observer) { observers_.push_back(&observer); }
  void OnReady(const std::shared_ptr<LiveSandbox>& sandbox) override {
    for (SandboxObserver* observer : observers_) observer->OnReady(sandbox);
  }
  Awaitable<void> OnEnding(LiveSandbox& sandbox) override {
    for (SandboxObserver* observer : observers_) co_await observer->OnEnding(sandbox);
  }
  void OnEnded(const LiveSandbox& sandbox) override {
    for (SandboxObserver* observer : observers_) observer->OnEnded(sandbox);
  }

 private:
  std::vector<SandboxObserver*> observers_;
};

class LiveSandbox : public std::enable_shared_from_this<LiveSandbox> {
 public:
  LiveSandbox(asio::any_io_executor executor, SandboxContext& context, SandboxObserver& observer,
              store::SandboxRecord record);

  // The whole life of a new sandbox, whose record is PROVISIONING, in the spare machine of that id
  // if there is one. Never cancelled: RequestStop ends it.
  Awaitable<void> Create(LaunchPlan plan, std::optional<Spare> spare);
  // The rest of the life of one that an earlier control plane started.
  Awaitable<void> Adopt(WardenProcess warden);

  // Ends the sandbox, STOPPED for this reason. The first request counts, and none that comes after
  // a failure.
  void RequestStop(Error why);

  const store::SandboxRecord& record() const { return record_; }
  const SandboxId& id() const { return record_.id; }
  bool ready() const {
    return record_.status == store::SandboxStatus::kReady && !stop_reason_ && !failure_;
  }
  // Why it was asked to stop, or failed; nothing while neither has happened.
  const std::optional<Error>& why_ending() const { return stop_reason_ ? stop_reason_ : failure_; }
  bool ended() const { return ended_; }
  // For whoever creates it; complete when it is READY.
  const std::vector<std::string>& warnings() const { return warnings_; }
  const ProgressUpdate& progress() const { return progress_; }
  bool image_was_present() const { return machine_.shape.image.was_present; }
  // Null before the warden runs.
  std::shared_ptr<rpc::Channel> channel() const { return machine_.link.channel; }
  // Notified after every change of the above.
  Notifier& changed() { return changed_; }
  // Tasks that end, cancelled, before the sandbox does.
  TaskScope& tasks() { return tasks_; }

  // What idleness is measured by.
  void ExecutionStarted(const ExecutionId& execution_id);
  void ExecutionEnded(const ExecutionId& execution_id);
  void Touch();
  // Whether nothing runs, and nothing has for the whole idle limit.
  bool IdleTooLong() const;

 private:
  Awaitable<void> MakeTask(LaunchPlan plan, std::optional<Spare> spare);
  // The layers of the checkout, while the machine is on its way.
  Awaitable<void> FindLayers();
  // What happens in the machine before the sandbox is READY: enters SETUP when there is something
  // to do, and adds a phase for each step. Cancelled with its task.
  Awaitable<Result<void>> SetUp();
  Awaitable<Result<void>> AttachCheckout(CheckoutLayers layers);
  Awaitable<Result<void>> ApplyLocalChanges();
  bool SetUpFailed() const { return set_up_begun_ && made_ && !made_->has_value(); }
  Awaitable<void> Serve();
  Awaitable<void> Watch();
  Awaitable<void> End();
  Awaitable<void> EndWarden();
  void SetFinal(const Error& error);
  void FailWith(Error why);
  void ReadEndFile();
  std::string DescribeWardenEnd() const;
  void TellProgress(ProgressUpdate progress);
  // Persists the record with this status; what cannot be persisted is logged and remembered as
  // failure.
  Result<void> Enter(store::SandboxStatus status, const std::string& message);

  asio::any_io_executor executor_;
  SandboxContext& context_;
  SandboxObserver& observer_;
  store::SandboxRecord record_;
  Notifier changed_;
  TaskScope tasks_;

  SandboxMachine machine_;
  ProgressUpdate progress_;
  std::vector<std::string> warnings_;
  std::set<ExecutionId> running_;
  std::chrono::steady_clock::time_point idle_since_;

  std::shared_ptr<const v1::RepositoryChangeset> local_changes_;  // until they are applied
  std::optional<Result<CheckoutLayers>> layers_;                  // once they are found
  bool set_up_begun_ = false;                                     // the machine runs
  std::optional<Result<void>> made_;                              // the machine and its set-up
  std::optional<Error> stop_reason_;
  std::optional<Error> failure_;  // why it ended without being asked to
  bool link_lost_ = false;  // the failure is that the warden's connection ended without a word
  bool ended_ = false;
};

}  // namespace cleanroom::server
