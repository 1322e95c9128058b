// execution ls, inspect; status.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "base/id.h"
#include "cli/output/json.h"
#include "cli/output/proto_time.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"
#include "client/names.h"

namespace cleanroom::cli {
namespace {

using std::chrono::system_clock;

constexpr CommandHelp kLs = {
    "ls", "List the commands that run; with --all also those that have ended",
    "cleanroom execution ls\n"
    "cleanroom execution ls --all --sandbox-id 01kr7p9ksmfa7rmyypyqw2w8r0 --json"};
constexpr CommandHelp kInspect = {"inspect", "Tell all about a command that was run",
                                  "cleanroom execution inspect --last\n"
                                  "cleanroom execution inspect 01kr7pa2m3e5x8j6v4c1t9q0zd --json"};
constexpr CommandHelp kStatus = {
    "status", "Show the record of a past command (the last one by default)",
    "cleanroom status\ncleanroom status --execution-id 01kr7pa2m3e5x8j6v4c1t9q0zd"};

struct Flags {
  bool all = false;
  bool json = false;
  bool last = false;
  std::string id;
  std::string sandbox_id;
};

std::optional<system_clock::time_point> StartedAt(const v1::Execution& execution) {
  if (!execution.has_started_at()) return std::nullopt;
  return FromProto(execution.started_at());
}

// How long it ran, or has run; empty when it never started.
std::string Duration(const v1::Execution& execution, system_clock::time_point now) {
  const auto started = StartedAt(execution);
  if (!started) return "";
  const auto end = execution.has_finished_at() ? FromProto(execution.finished_at()) : now;
  return HumanDuration(std::chrono::duration_cast<std::chrono::milliseconds>(end - *started));
}

std::vector<std::string> Command(const v1::Execution& execution) {
  return {execution.command().begin(), execution.command().end()};
}

std::string ExitCode(const v1::Execution& execution) {
  return client::HasEnded(execution.status()) ? std::to_string(execution.exit_code()) : "";
}

std::string Describe(const v1::Execution& execution) {
  std::string out;
  const auto line = [&out](std::string_view name, const std::string& value) {
    if (!value.empty()) out += fmt::format("{:<12}{}\n", name, Printable(value));
  };
  const auto now = system_clock::now();
  line("id", execution.execution_id());
  line("sandbox", execution.sandbox_id());
  line("status", std::string(client::ShortName(execution.status())));
  line("exit code", ExitCode(execution));
  line("reason", execution.reason());
  line("command", ShellQuote(Command(execution)));
  line("kind", std::string(client::ShortName(execution.kind())) +
                   (execution.tty() ? ", with a terminal" : ""));
  if (const auto started = StartedAt(execution)) {
    line("started", fmt::format("{} ({})", Timestamp(*started), Ago(started, now)));
  }
  line("duration", Duration(execution, now));
  for (const v1::Phase& phase : execution.phases()) {
    out += fmt::format("  {:<18}{:>9.1f} ms\n", Printable(phase.name()), phase.milliseconds());
  }
  return out;
}

Awaitable<Result<int>> List(client::Api& api, Flags flags) {
  v1::ListExecutionsRequest request;
  request.set_all(flags.all);
  request.set_sandbox_id(flags.sandbox_id);
  auto list = co_await api.executions.ListExecutions(std::move(request));
  if (!list) co_return Err(std::move(list).error());
  if (flags.json) co_return PrintAnswer(ToJson(*list));
  Table table({"ID", "SANDBOX", "STATUS", "EXIT", "STARTED", "TOOK", "COMMAND"});
  const auto now = system_clock::now();
  for (const v1::Execution& execution : list->executions()) {
    table.AddRow({execution.execution_id(), execution.sandbox_id(),
                  std::string(client::ShortName(execution.status())), ExitCode(execution),
                  Ago(StartedAt(execution), now), Duration(execution, now),
                  ShellQuote(Command(execution))});
  }
  co_return PrintAnswer(table.Render());
}

Awaitable<Result<int>> Inspect(client::Api& api, Flags flags) {
  if (flags.last) {
    v1::ListExecutionsRequest all;
    all.set_all(true);
    auto list = co_await api.executions.ListExecutions(std::move(all));
    if (!list) co_return Err(std::move(list).error());
    for (const v1::Execution& execution : list->executions()) {
      flags.id = std::max(flags.id, execution.execution_id());  // ids sort by time
    }
    if (flags.id.empty()) {
      co_return Err(
          Error(ErrorCode::kNotFound, "there is no execution").About(SubjectKind::kExecution));
    }
  }
  v1::GetExecutionRequest request;
  request.set_execution_id(flags.id);
  auto found = co_await api.executions.InspectExecution(std::move(request));
  if (!found) co_return Err(std::move(found).error());
  co_return PrintAnswer(flags.json ? ToJson(found->execution()) : Describe(found->execution()));
}

int RunInspect(const Invocation& invocation, const Flags& flags, const char* command) {
  if (!flags.last) {
    if (flags.id.empty())
      return Fail(UsageError("which execution? Give its ID or --last", command));
    if (auto id = CheckId(flags.id, "execution id"); !id) return Fail(invocation, id.error());
  }
  return RunConnected(invocation, [&flags](client::Api& api) { return Inspect(api, flags); });
}

}  // namespace

void AddExecutionCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "execution", "List and inspect the commands run in sandboxes");
  {
    CLI::App* command = AddCommand(*group, kLs);
    command->alias("list");
    const auto flags = std::make_shared<Flags>();
    command->add_flag("-a,--all", flags->all, "Also those that have ended");
    command->add_option("--sandbox-id,--in", flags->sandbox_id, "Only of this sandbox")
        ->option_text("ID");
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        if (!flags->sandbox_id.empty()) {
          if (auto id = CheckId(flags->sandbox_id, "sandbox id"); !id)
            return Fail(invocation, id.error());
        }
        return RunConnected(invocation, [flags](client::Api& api) { return List(api, *flags); });
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kInspect);
    const auto flags = std::make_shared<Flags>();
    auto* id = command->add_option("id", flags->id, "The execution")->option_text("ID");
    command->add_flag("--last", flags->last, "The one started last")->excludes(id);
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        return RunInspect(invocation, *flags, "cleanroom execution inspect");
      };
    });
  }
  {
    CLI::App* command = AddCommand(root, kStatus);
    const auto flags = std::make_shared<Flags>();
    auto* id =
        command->add_option("--execution-id,--run-id", flags->id, "This one")->option_text("ID");
    command->add_flag("--last,--last-run", flags->last, "The one started last")->excludes(id);
    command->add_flag("--json", flags->json, "Print JSON");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        if (flags->id.empty()) flags->last = true;
        return RunInspect(invocation, *flags, "cleanroom status");
      };
    });
  }
}

}  // namespace cleanroom::cli
