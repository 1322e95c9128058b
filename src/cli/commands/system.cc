// system df, prune, warmup.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <utility>

#include "cli/commands/policy_source.h"
#include "cli/commands/prune.h"
#include "cli/commands/run_flags.h"
#include "cli/commands/sandbox_create.h"
#include "cli/commands/warm_up.h"
#include "cli/output/json.h"
#include "cli/output/progress.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kDf = {
    "df",
    "Tell what is stored on the daemon's host\n\n"
    "RECLAIMABLE is what `cleanroom system prune --all` would free.",
    "cleanroom system df\ncleanroom system df -v\ncleanroom system df --json"};
constexpr CommandHelp kPrune = {
    "prune",
    "Remove templates that no sandbox needs, and checkouts that none had for a week\n\n"
    "With --all also newer checkouts, mirrors of repositories, images and caches. "
    "What goes is made again when it is needed. Records, the audit log and what a sandbox uses "
    "stay.",
    "cleanroom system prune --dry-run\n"
    "cleanroom system prune --older-than 24h\n"
    "cleanroom system prune --all --force"};
constexpr CommandHelp kWarmup = {
    "warmup",
    "Make ready what sandboxes start from, and print the template's key\n\n"
    "The image is pulled if it is missing, and a machine of the policy's size is booted once and "
    "saved. Without\n"
    "-c it is the policy that `cleanroom exec` would take here.",
    "cleanroom system warmup\n"
    "cleanroom system warmup -c ci/cleanroom.yaml\n"
    "cleanroom system warmup --image docker.io/library/alpine:latest --json"};

struct Flags {
  RunFlags run{};  // of warmup
  std::string older_than{};
  bool all = false;
  bool dry_run = false;
  bool force = false;
  bool json = false;
  bool verbose = false;
};

std::string Summary(const v1::DiskUsageResponse& usage) {
  struct Sum {
    int count = 0;
    int64_t size = 0;
    int64_t reclaimable = 0;
    void Add(const v1::StoredItem& item) {
      ++count;
      size += item.size_bytes();
      if (item.reclaimable()) reclaimable += item.size_bytes();
    }
  };
  // In the daemon's order.
  std::vector<std::pair<std::string, Sum>> kinds;
  Sum total;
  for (const v1::StoredItem& item : usage.items()) {
    if (kinds.empty() || kinds.back().first != item.kind()) kinds.push_back({item.kind(), {}});
    kinds.back().second.Add(item);
    total.Add(item);
  }
  kinds.push_back({"total", total});
  Table table({"KIND", "COUNT", "SIZE", "RECLAIMABLE"});
  for (const auto& [kind, sum] : kinds) {
    table.AddRow(
        {kind, std::to_string(sum.count), HumanBytes(sum.size), HumanBytes(sum.reclaimable)});
  }
  return table.Render();
}

std::string_view StateOf(const v1::StoredItem& item) {
  if (item.in_use()) return "in use";
  return item.reclaimable() ? "reclaimable" : "kept";
}

std::string Itemized(const v1::DiskUsageResponse& usage) {
  Table table({"KIND", "SIZE", "USED", "STATE", "NAME"});
  for (const v1::StoredItem& item : usage.items()) {
    table.AddRow({item.kind(), HumanBytes(item.size_bytes()), UsedAgo(item),
                  std::string(StateOf(item)), item.name()});
  }
  return table.Render();
}

Awaitable<Result<int>> Df(client::Api& api, Flags flags) {
  auto usage = co_await api.system.DiskUsage({});
  if (!usage) co_return Err(std::move(usage).error());
  if (flags.json) co_return PrintAnswer(ToJson(*usage));
  std::string text = Summary(*usage);
  if (flags.verbose) text += "\n" + Itemized(*usage);
  co_return PrintAnswer(text);
}

int RunPrune(const Invocation& invocation, const Flags& flags) {
  v1::PruneRequest request;
  request.set_all(flags.all);
  request.set_dry_run(flags.dry_run);
  if (!flags.older_than.empty()) {
    auto age = ParseDuration(flags.older_than);
    if (!age) return Fail(invocation, std::move(age).error().Context("--older-than"));
    request.set_older_than_seconds(age->count());
  }
  const PruneFlags how{.dry_run = flags.dry_run, .force = flags.force, .json = flags.json};
  if (const auto may = CheckMayAsk(how, "cleanroom system prune"); !may)
    return Fail(invocation, may.error());
  return RunConnected(invocation,
                      [&](client::Api& api) { return Prune(api, std::move(request), how); });
}

Awaitable<Result<int>> Warmup(client::Api& api, v1::WarmUpRequest request, PolicySource source,
                              bool json, ProgressStyle style) {
  const auto executor = co_await asio::this_coro::executor;
  Progress progress(executor, style);
  progress.Start();
  auto policy = co_await FinishPolicy(api, std::move(source));
  Result<v1::Template> ready;
  if (policy) {
    *request.mutable_policy() = std::move(*policy);
    ready = co_await WarmUp(api, std::move(request), progress);
  } else {
    ready = Err(std::move(policy).error());
  }
  co_await progress.Finish();
  if (!ready) co_return Err(std::move(ready).error());
  co_return PrintAnswer(json ? ToJson(*ready) : ready->key() + "\n");
}

int RunWarmup(const Invocation& invocation, const Flags& flags) {
  auto source = LocatePolicy(flags.run, DefaultImage);
  if (!source) return Fail(invocation, source.error());
  WarnAbout(invocation, *source);
  v1::WarmUpRequest request;
  request.set_backend(flags.run.backend);
  const ProgressStyle style =
      ChooseProgress(invocation, flags.run.quiet ? Quiet::kYes : Quiet::kNo);
  return RunConnected(invocation, [&](client::Api& api) {
    return Warmup(api, std::move(request), std::move(*source), flags.json, style);
  });
}

}  // namespace

void AddSystemCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "system", "The daemon's storage, and what it makes ready");
  {
    CLI::App* command = AddCommand(*group, kDf);
    const auto flags = std::make_shared<Flags>();
    command->add_flag("-v,--verbose", flags->verbose, "Also list each thing");
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        return RunConnected(invocation, [flags](client::Api& api) { return Df(api, *flags); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kPrune);
    const auto flags = std::make_shared<Flags>();
    command->add_flag("--dry-run", flags->dry_run, "Remove nothing; tell what would go");
    command->add_flag("--force", flags->force, "Do not ask");
    command->add_flag("--all", flags->all,
                      "Also images and mirrors that no sandbox uses, and caches");
    command
        ->add_option("--older-than", flags->older_than,
                     "Only what was not used for so long (30m, 24h, 7d)")
        ->option_text("DURATION");
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] { return RunPrune(invocation, *flags); };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kWarmup);
    const auto flags = std::make_shared<Flags>();
    command
        ->add_option("-c,--policy", flags->run.policy_file,
                     "The policy file, instead of looking for cleanroom.yaml")
        ->option_text("FILE");
    command
        ->add_option("--image", flags->run.image,
                     "The image, instead of the policy's; a tag is resolved to a digest")
        ->option_text("REF");
    command
        ->add_option("--backend", flags->run.backend,
                     "The backend, instead of the daemon's default")
        ->option_text("NAME");
    command->add_flag("--json", flags->json, "Print JSON");
    command->add_flag("-q,--quiet", flags->run.quiet, "Show no progress");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] { return RunWarmup(invocation, *flags); };
    });
  }
}

}  // namespace cleanroom::cli
