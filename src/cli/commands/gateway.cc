// gateway mirrors: what the daemon has fetched of remotes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "cli/commands/prune.h"
#include "cli/output/proto_time.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;
using Json = nlohmann::ordered_json;

constexpr CommandHelp kMirrors = {
    "mirrors",
    "List the mirrors of repositories on the daemon's host\n\n"
    "One for each remote. COMMITS is how many work trees are ready to be mounted, OBJECTS how many "
    "states of the\n"
    "mirror are, FETCHED when all branches and tags were fetched.",
    "cleanroom gateway mirrors\ncleanroom gateway mirrors --json"};
constexpr CommandHelp kPrune = {
    "prune",
    "Remove mirrors that no sandbox uses\n\n"
    "What goes is cloned again when it is needed. Work trees that were made of it stay: `cleanroom "
    "system prune`\n"
    "removes those.",
    "cleanroom gateway mirrors prune --dry-run\n"
    "cleanroom gateway mirrors prune --force https://git.example.com/tool.git"};

struct MirrorRow {
  const v1::StoredItem* mirror;
  int work_trees = 0;
  int objects = 0;
};

std::vector<MirrorRow> RowsOf(const v1::DiskUsageResponse& usage) {
  struct Made {
    int work_trees = 0;
    int objects = 0;
  };
  std::map<std::string_view, Made> made;
  for (const v1::StoredItem& item : usage.items()) {
    if (item.kind() == "work-tree") ++made[item.remote()].work_trees;
    if (item.kind() == "objects") ++made[item.remote()].objects;
  }
  std::vector<MirrorRow> rows;
  for (const v1::StoredItem& item : usage.items()) {
    if (item.kind() != "mirror") continue;
    // One whose record is lost has no remote; nobody knows what was made of it.
    const Made of = item.remote().empty() ? Made() : made[item.remote()];
    rows.push_back({&item, of.work_trees, of.objects});
  }
  return rows;
}

std::string FetchedAgo(const v1::StoredItem& item) {
  if (!item.has_fetched_at()) return "-";
  return Ago(FromProto(item.fetched_at()), std::chrono::system_clock::now());
}

std::string ToText(const std::vector<MirrorRow>& rows) {
  Table table({"REMOTE", "SIZE", "COMMITS", "OBJECTS", "FETCHED", "USED", "STATE"});
  for (const MirrorRow& row : rows) {
    const v1::StoredItem& item = *row.mirror;
    table.AddRow({item.name(), HumanBytes(item.size_bytes()), std::to_string(row.work_trees),
                  std::to_string(row.objects), FetchedAgo(item), UsedAgo(item),
                  item.in_use()        ? "in use"
                  : item.reclaimable() ? "reclaimable"
                                       : "kept"});
  }
  return table.Render();
}

std::string ToJson(const std::vector<MirrorRow>& rows) {
  Json json = {{"mirrors", Json::array()}};
  for (const MirrorRow& row : rows) {
    const v1::StoredItem& item = *row.mirror;
    Json entry = {{"remote", ToValidUtf8(item.name())},
                  {"size_bytes", item.size_bytes()},
                  {"commits", row.work_trees},
                  {"objects", row.objects}};
    if (item.has_fetched_at()) entry["fetched_at"] = Timestamp(FromProto(item.fetched_at()));
    if (item.has_last_used_at()) entry["last_used_at"] = Timestamp(FromProto(item.last_used_at()));
    entry["in_use"] = item.in_use();
    entry["reclaimable"] = item.reclaimable();
    json["mirrors"].push_back(std::move(entry));
  }
  return json.dump(2) + "\n";
}

Awaitable<Result<int>> ListMirrors(client::Api& api, bool json) {
  auto usage = co_await api.system.DiskUsage({});
  if (!usage) co_return Err(std::move(usage).error());
  const auto rows = RowsOf(*usage);
  co_return PrintAnswer(json ? ToJson(rows) : ToText(rows));
}

// As the daemon spells remotes: without what a URL may have at its end.
std::string_view Plain(std::string_view remote) {
  while (remote.ends_with('/')) remote.remove_suffix(1);
  if (remote.ends_with(".git")) remote.remove_suffix(4);
  return remote;
}

Awaitable<Result<int>> PruneMirrors(client::Api& api, std::string remote, PruneFlags flags) {
  v1::PruneRequest request;
  request.set_mirrors(true);
  request.set_dry_run(flags.dry_run);
  if (!remote.empty()) {
    auto usage = co_await api.system.DiskUsage({});
    if (!usage) co_return Err(std::move(usage).error());
    const v1::StoredItem* found = nullptr;
    for (const MirrorRow& row : RowsOf(*usage)) {
      if (!row.mirror->remote().empty() && row.mirror->remote() == Plain(remote))
        found = row.mirror;
    }
    if (found == nullptr) {
      co_return Err(
          Error(ErrorCode::kNotFound, fmt::format("there is no mirror of {}", Printable(remote)))
              .Remedy("See which there are with: cleanroom gateway mirrors"));
    }
    if (found->in_use()) {
      co_return Err(Error(ErrorCode::kFailedPrecondition,
                          fmt::format("a sandbox uses the mirror of {}", Printable(remote)))
                        .Remedy("See which there are with: cleanroom sandbox ls"));
    }
    request.set_remote(found->remote());
  }
  auto pruned = co_await Prune(api, std::move(request), flags);
  co_return pruned;
}

void AddPrune(CLI::App& mirrors, Invocation& invocation) {
  CLI::App* command = AddCommand(mirrors, kPrune);
  const auto flags = std::make_shared<PruneFlags>();
  const auto remote = std::make_shared<std::string>();
  command
      ->add_option("remote", *remote,
                   "Only the mirror of this remote, as `mirrors` lists it or as "
                   "its URL")
      ->option_text("REMOTE");
  command->add_flag("--dry-run", flags->dry_run, "Remove nothing; tell what would go");
  command->add_flag("--force", flags->force, "Do not ask");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&invocation, flags, remote] {
    invocation.run = [&invocation, flags, remote] {
      if (const auto may = CheckMayAsk(*flags, "cleanroom gateway mirrors prune"); !may)
        return Fail(invocation, may.error());
      return RunConnected(invocation,
                          [&](client::Api& api) { return PruneMirrors(api, *remote, *flags); });
    };
  });
}

}  // namespace

void AddGatewayCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "gateway", "What the daemon fetches for sandboxes");
  CLI::App* mirrors = AddCommand(*group, kMirrors);
  const auto json = std::make_shared<bool>(false);
  mirrors->add_flag("--json", *json, "Print JSON");
  AddPrune(*mirrors, invocation);
  mirrors->callback([&invocation, mirrors, json] {
    if (!mirrors->get_subcommands().empty()) return;  // prune was asked for
    invocation.run = [&invocation, json] {
      return RunConnected(invocation, [json](client::Api& api) { return ListMirrors(api, *json); });
    };
  });
}

}  // namespace cleanroom::cli
