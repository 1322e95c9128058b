// TemplateStorage: saved machines. Spare machines of one that goes are ended first. What sandboxes
// boot with decides what is in use; while that is not known, every template counts as used.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/launch/launch_resources.h"
#include "server/layout.h"
#include "server/sandboxes/sandboxes.h"
#include "server/storage/storage.h"
#include "server/warm/spares.h"
#include "server/warm/templates.h"

namespace cleanroom::server {

// What sandboxes boot with now; nothing while that is not known.
using BootsWith = std::function<std::optional<LaunchMachine>()>;

class TemplateStorage : public StorageOwner {
 public:
  // All of it outlives this.
  TemplateStorage(Templates& templates, Spares& spares, const Sandboxes& sandboxes,
                  BlockingPool& pool, const Layout& layout, BootsWith machine)
      : templates_(templates),
        spares_(spares),
        sandboxes_(sandboxes),
        pool_(pool),
        layout_(layout),
        machine_(std::move(machine)) {}

  Awaitable<Result<std::vector<StoredItem>>> List() override;
  Awaitable<Result<void>> Remove(StoredItem item) override;

 private:
  // Keys, without the image's file, of the templates that live sandboxes run from, or would; nothing
  // when that is not known.
  std::optional<std::set<std::string>> InUse() const;

  Templates& templates_;
  Spares& spares_;
  const Sandboxes& sandboxes_;
  BlockingPool& pool_;
  const Layout& layout_;
  BootsWith machine_;
};

}  // namespace cleanroom::server
