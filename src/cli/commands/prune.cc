#include "cli/commands/prune.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string_view>
#include <utility>

#include "cli/output/json.h"
#include "cli/output/proto_time.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;

std::string Describe(const v1::PruneResponse& pruned, std::string_view verdict) {
  std::string out;
  if (!pruned.items().empty()) {
    Table table({"KIND", "SIZE", "USED", "NAME"});
    for (const v1::StoredItem& item : pruned.items())
      table.AddRow({item.kind(), HumanBytes(item.size_bytes()), UsedAgo(item), item.name()});
    out = table.Render();
  }
  return out + fmt::format("{} {} ({} {})\n", verdict, HumanBytes(pruned.freed_bytes()),
                           pruned.items_size(), pruned.items_size() == 1 ? "item" : "items");
}

// Shows what would go and asks, on the terminal. Nothing is read when there is nothing to remove.
bool Confirm(const v1::PruneResponse& found) {
  const std::string text = Describe(found, "would free");
  std::fwrite(text.data(), 1, text.size(), stderr);
  if (found.items().empty()) return false;
  std::fputs("Remove? [y/N] ", stderr);
  std::string answer;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar())
    answer += static_cast<char>(c);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

std::string UsedAgo(const v1::StoredItem& item) {
  if (!item.has_last_used_at()) return "-";
  return Ago(FromProto(item.last_used_at()), std::chrono::system_clock::now());
}

Result<void> CheckMayAsk(const PruneFlags& flags, const std::string& command) {
  if (flags.dry_run || flags.force || isatty(STDIN_FILENO) == 1) return {};
  return Err(UsageError(
      "there is no terminal to ask on: pass --force, or look first with --dry-run", command));
}

Awaitable<Result<int>> Prune(client::Api& api, v1::PruneRequest request, PruneFlags flags) {
  if (!flags.dry_run && !flags.force) {
    v1::PruneRequest look = request;
    look.set_dry_run(true);
    auto found = co_await api.system.Prune(std::move(look));
    if (!found) co_return Err(std::move(found).error());
    if (!Confirm(*found)) co_return 0;
  }
  auto pruned = co_await api.system.Prune(request);
  if (!pruned) co_return Err(std::move(pruned).error());
  const int printed =
      PrintAnswer(flags.json ? ToJson(request, *pruned)
                             : Describe(*pruned, flags.dry_run ? "would free" : "freed"));
  if (pruned->failures().empty()) co_return printed;
  std::string failures;
  for (const std::string& failure : pruned->failures())
    failures += (failures.empty() ? "" : "\n") + failure;
  co_return Err(ErrorCode::kInternal, "not everything was removed:\n" + failures);
}

}  // namespace cleanroom::cli
