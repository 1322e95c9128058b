#include "cli/commands/workspace_copy_out.h"

#include <fmt/format.h>

#include <utility>

#include "cli/commands/bound_work_tree.h"
#include "cli/commands/sandbox_changes.h"
#include "cli/output/text.h"
#include "workspace/copy_apply.h"

namespace cleanroom::cli {
namespace {

using workspace::Action;

constexpr size_t kConflictsShown = 100;

Error Conflicts(const workspace::CopyPlan& plan) {
  std::string text = "nothing was copied, for the local work tree has other changes:";
  size_t shown = 0;
  for (const auto& path : plan.paths) {
    if (path.action != Action::kConflict || ++shown > kConflictsShown) continue;
    text += fmt::format("\n  {}: {}", Printable(path.path), path.reason);
  }
  return Error(ErrorCode::kFailedPrecondition, std::move(text))
      .Remedy("Settle them, or take the sandbox's with: cleanroom workspace copy-out --force");
}

}  // namespace

Awaitable<Result<CopiedOut>> CopyOut(client::Api& api, std::string sandbox_id,
                                     CopyOutOptions options) {
  auto sandbox = co_await FindWithRepository(api, sandbox_id);
  if (!sandbox) co_return Err(std::move(sandbox).error());
  CR_CO_TRY_ASSIGN(const auto target, TargetOf(*sandbox));
  auto fetched = co_await FetchChanges(api, *sandbox, target.repository, target.baseline);
  if (!fetched) co_return Err(std::move(fetched).error());
  CR_CO_TRY_ASSIGN(auto plan, workspace::PlanCopyOut(target.repository, target.baseline,
                                                     fetched->incoming, options.force));
  CopiedOut out;
  if (!options.dry_run) {
    if (plan.CountOf(Action::kConflict) > 0) co_return Err(Conflicts(plan));
    CR_CO_TRY_ASSIGN(const auto applied, workspace::ApplyCopyOut(plan, fetched->tar.get()));
    out.written = applied.written;
    out.deleted = applied.deleted;
  }
  out.paths = std::move(plan.paths);
  for (auto& path : out.paths) path.file = nullptr;
  co_return out;
}

}  // namespace cleanroom::cli
