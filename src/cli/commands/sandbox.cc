// sandbox create, ls, inspect, rm; network.h has sandbox network.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "base/id.h"
#include "cli/commands/network.h"
#include "cli/commands/run_flags.h"
#include "cli/commands/sandbox_choice.h"
#include "cli/commands/sandbox_create.h"
#include "cli/output/json.h"
#include "cli/output/proto_time.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"
#include "client/names.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kCreate = {
    "create",
    "Make a sandbox from an image alone, with no network, and print its id\n\n"
    "Looks at no policy file and no repository.",
    "cleanroom sandbox create --image docker.io/library/alpine:latest\n"
    "cleanroom sandbox create --image registry.example/team/base@sha256:... --keep"};
constexpr CommandHelp kLs = {"ls",
                             "List the sandboxes that run; with --all also those that have ended",
                             "cleanroom sandbox ls\ncleanroom sandbox ls --all --json"};
constexpr CommandHelp kInspect = {"inspect", "Tell all about a sandbox",
                                  "cleanroom sandbox inspect 01kr7p9ksmfa7rmyypyqw2w8r0\n"
                                  "cleanroom sandbox inspect --last --json"};
constexpr CommandHelp kRm = {
    "rm", "End sandboxes and drop their disks (also: terminate)",
    "cleanroom sandbox rm 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom sandbox rm $(cleanroom sandbox ls --json | jq -r '.sandboxes[].sandbox_id')"};

struct Flags {
  bool all = false;
  bool json = false;
  SandboxChoice choice{};
  std::vector<std::string> ids;
};

std::optional<std::chrono::system_clock::time_point> CreatedAt(const v1::Sandbox& sandbox) {
  if (!sandbox.has_created_at()) return std::nullopt;
  return FromProto(sandbox.created_at());
}

std::string Describe(const v1::Sandbox& sandbox) {
  std::string out;
  const auto line = [&out](std::string_view name, const std::string& value) {
    if (!value.empty()) out += fmt::format("{:<12}{}\n", name, Printable(value));
  };
  line("id", sandbox.sandbox_id());
  line("status", std::string(client::ShortName(sandbox.status())));
  line("reason", sandbox.reason());
  line("remedy", sandbox.why().remedy());
  line("backend", sandbox.accelerator().empty()
                      ? sandbox.backend()
                      : fmt::format("{} ({})", sandbox.backend(), sandbox.accelerator()));
  line("image", sandbox.image_ref());
  line("policy", sandbox.policy_hash());
  if (sandbox.has_repository_checkout()) {
    const v1::RepositoryCheckout& checkout = sandbox.repository_checkout();
    line("repository", checkout.remote_url());
    line("commit", checkout.branch().empty()
                       ? checkout.commit_sha()
                       : fmt::format("{} ({})", checkout.commit_sha(), checkout.branch()));
    line("work tree", checkout.destination_dir());
  }
  if (sandbox.vcpus() > 0)
    line("resources", fmt::format("{} vCPU, {} MiB", sandbox.vcpus(), sandbox.memory_mib()));
  line("keep", sandbox.keep() ? "yes" : "no");
  const auto now = std::chrono::system_clock::now();
  if (const auto created = CreatedAt(sandbox)) {
    line("created", fmt::format("{} ({})", Timestamp(*created), Ago(created, now)));
  }
  if (sandbox.has_updated_at()) line("updated", Timestamp(FromProto(sandbox.updated_at())));
  line("running", sandbox.active_execution_id());
  line("last run", sandbox.last_execution_id());
  for (const v1::Phase& phase : sandbox.phases()) {
    out += fmt::format("  {:<18}{:>9.1f} ms\n", Printable(phase.name()), phase.milliseconds());
  }
  if (!sandbox.console_tail().empty()) {
    out += "last console lines:\n" + Printable(sandbox.console_tail(), Newlines::kKeep);
    if (!out.ends_with('\n')) out += '\n';
  }
  return out;
}

Awaitable<Result<int>> List(client::Api& api, Flags flags) {
  v1::ListSandboxesRequest request;
  request.set_all(flags.all);
  auto list = co_await api.sandboxes.ListSandboxes(std::move(request));
  if (!list) co_return Err(std::move(list).error());
  SortByCreation(*list);
  if (flags.json) co_return PrintAnswer(ToJson(*list));
  Table table({"ID", "STATUS", "BACKEND", "IMAGE", "CREATED"});
  const auto now = std::chrono::system_clock::now();
  for (const v1::Sandbox& sandbox : list->sandboxes()) {
    table.AddRow({sandbox.sandbox_id(), std::string(client::ShortName(sandbox.status())),
                  sandbox.backend(), sandbox.image_ref(), Ago(CreatedAt(sandbox), now)});
  }
  co_return PrintAnswer(table.Render());
}

Awaitable<Result<int>> Inspect(client::Api& api, Flags flags) {
  auto id = co_await ResolveSandbox(api, flags.choice);
  if (!id) co_return Err(std::move(id).error());
  v1::GetSandboxRequest request;
  request.set_sandbox_id(*id);
  auto found = co_await api.sandboxes.GetSandbox(std::move(request));
  if (!found) co_return Err(std::move(found).error());
  co_return PrintAnswer(flags.json ? ToJson(found->sandbox()) : Describe(found->sandbox()));
}

// Goes on after one that fails; the exit code tells.
Awaitable<Result<int>> Remove(client::Api& api, Flags flags) {
  int code = 0;
  for (const std::string& id : flags.ids) {
    v1::TerminateSandboxRequest request;
    request.set_sandbox_id(id);
    auto removed = co_await api.sandboxes.TerminateSandbox(std::move(request));
    if (removed) {
      const int printed = PrintAnswer(id + "\n");
      if (printed != 0) code = printed;
    } else {
      code = Fail(std::move(removed).error().Context("sandbox " + id));
    }
  }
  co_return code;
}

}  // namespace

void AddSandboxCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "sandbox", "Make, list, inspect and remove sandboxes");

  {
    CLI::App* command = AddCommand(*group, kCreate);
    const auto flags = std::make_shared<RunFlags>();
    AddRunFlags(*command, RunKind::kSandboxCreate, *flags);
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        if (auto checked = CheckRunFlags(*flags, RunKind::kSandboxCreate); !checked)
          return Fail(invocation, checked.error());
        auto source = PolicyOfImage(*flags, DefaultImage);
        if (!source) return Fail(invocation, source.error());
        CheckoutSource made;
        made.policy = *std::move(source);
        return CreateAndPrint(invocation, *flags, std::move(made));
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kLs);
    command->alias("list");
    const auto flags = std::make_shared<Flags>();
    command->add_flag("-a,--all", flags->all, "Also those that have ended");
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        return RunConnected(invocation, [flags](client::Api& api) { return List(api, *flags); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kInspect);
    const auto flags = std::make_shared<Flags>();
    AddSandboxChoice(*command, flags->choice);
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        if (auto chosen = CheckSandboxChoice(flags->choice, "cleanroom sandbox inspect"); !chosen)
          return Fail(chosen.error());
        return RunConnected(invocation, [flags](client::Api& api) { return Inspect(api, *flags); });
      };
    });
  }
  AddSandboxNetworkCommand(*group, invocation);
  {
    CLI::App* command = AddCommand(*group, kRm);
    command->alias("terminate");
    const auto flags = std::make_shared<Flags>();
    command->add_option("id", flags->ids, "The sandboxes")->option_text("ID...")->required();
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        for (const std::string& text : flags->ids) {
          if (auto id = CheckId(text, "sandbox id"); !id) return Fail(invocation, id.error());
        }
        return RunConnected(invocation, [flags](client::Api& api) { return Remove(api, *flags); });
      };
    });
  }
}

}  // namespace cleanroom::cli
