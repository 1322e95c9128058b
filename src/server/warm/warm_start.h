// WarmStart: what was made ready before anybody asked for it. An interface so that the life of
// sandboxes can be tested without templates.
#pragma once

#include <optional>
#include <string>

#include "base/async.h"
#include "server/warden/warden_link.h"
#include "store/records.h"
#include "vmm/template_store.h"

namespace cleanroom::server {

// A restored machine that nobody has claimed, in a warden of its own. Its folder and its disk are
// made, its doors are shut, and no command of a user's has run in it.
struct Spare {
  SandboxId id;  // of the sandbox that it becomes
  MachineShape shape;
  WardenLink link;
};

class WarmStart {
 public:
  virtual ~WarmStart() = default;
  // Hands out a spare machine of the kind that the record asks for; nobody else gets it.
  virtual std::optional<Spare> Claim(const store::SandboxRecord& wanted) = 0;
  // Ends one that was claimed and is not used.
  virtual void Discard(Spare spare) = 0;
  // A machine of this shape that can be forked, if one is held.
  virtual std::optional<Origin> FindHeld(const MachineShape& shape) = 0;
  // A fork of it did not run: it is given up.
  virtual void DropHeld(const MachineShape& shape) = 0;
  // The template of this shape, if there is one that can be trusted.
  virtual Awaitable<std::optional<vmm::Template>> Find(MachineShape shape) = 0;
  // A copy of the template was started and did not run: it is removed.
  virtual Awaitable<void> Distrust(MachineShape shape) = 0;
  // A sandbox of this shape runs; more may come.
  virtual void Launched(const MachineShape& shape) = 0;
};

// Nothing is ever ready.
class NoWarmStart : public WarmStart {
 public:
  std::optional<Spare> Claim(const store::SandboxRecord&) override { return std::nullopt; }
  void Discard(Spare) override {}
  std::optional<Origin> FindHeld(const MachineShape&) override { return std::nullopt; }
  void DropHeld(const MachineShape&) override {}
  Awaitable<std::optional<vmm::Template>> Find(MachineShape) override { co_return std::nullopt; }
  Awaitable<void> Distrust(MachineShape) override { co_return; }
  void Launched(const MachineShape&) override {}
};

}  // namespace cleanroom::server
