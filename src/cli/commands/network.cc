#include "cli/commands/network.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "cli/commands/sandbox_choice.h"
#include "cli/output/json.h"
#include "cli/output/proto_time.h"
#include "cli/output/suggestion.h"
#include "cli/output/text.h"
#include "cli/session/session.h"
#include "cli/terminal/stdio.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kNetwork = {
    "network",
    "Tell what a sandbox reached and what it was refused\n\n"
    "Shows the distinct decisions so far, oldest first; with --follow then each as it is made, "
    "until the\n"
    "sandbox has ended. Many alike are one line with their count. All of it is in the daemon's "
    "audit log.",
    "cleanroom sandbox network 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom sandbox network --last --follow\n"
    "cleanroom sandbox network --last --json | jq 'select(.action == \"deny\")'"};
constexpr CommandHelp kSuggest = {
    "suggest",
    "Print the allow: block for what a sandbox was refused\n\n"
    "The block goes under sandbox.network of cleanroom.yaml. What no rule can allow is listed as "
    "comments.",
    "cleanroom policy suggest 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom policy suggest --last --json"};

struct Flags {
  SandboxChoice sandbox{};
  bool follow = false;
  bool json = false;
};

enum class Colours { kNo, kYes };

// Columns that keep their place while lines come one by one.
std::string Row(const std::string& time, const std::string& service, const std::string& destination,
                const std::string& port, const std::string& action, const std::string& reason,
                const std::string& count, const char* colour) {
  return fmt::format("{:<24}  {:<7}  {:<40}  {:>5}  {}{:<6}{}  {:<20}  {:>5}\n", time, service,
                     destination, port, colour, action, *colour == '\0' ? "" : "\033[0m", reason,
                     count);
}

std::string Heading() {
  return Row("TIME", "SERVICE", "DESTINATION", "PORT", "ACTION", "REASON", "COUNT", "");
}

std::string RowOf(const v1::NetworkDecision& decision, Colours colours) {
  std::string destination = Printable(decision.destination());
  if (decision.more() > 0) destination += fmt::format(" (and {} more)", decision.more());
  const char* colour = "";
  if (colours == Colours::kYes) colour = decision.allowed() ? "\033[32m" : "\033[31m";
  return Row(Timestamp(FromProto(decision.time())), Printable(decision.service()), destination,
             decision.port() > 0 ? fmt::format("{}", decision.port()) : "-",
             decision.allowed() ? "allow" : "deny", Printable(decision.reason_code()),
             fmt::format("{}", decision.count()), colour);
}

Awaitable<Result<int>> Network(client::Api& api, Flags flags) {
  auto id = co_await ResolveSandbox(api, flags.sandbox);
  if (!id) co_return Err(std::move(id).error());
  v1::StreamSandboxNetworkRequest request;
  request.set_sandbox_id(*id);
  request.set_follow(flags.follow);
  auto stream = co_await api.sandboxes.StreamSandboxNetwork(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  const auto executor = co_await asio::this_coro::executor;
  Output out(executor, STDOUT_FILENO);
  const Colours colours = isatty(STDOUT_FILENO) == 1 ? Colours::kYes : Colours::kNo;
  std::string heading = flags.json ? "" : Heading();
  // Followed, the first decision may be long in coming; else an error may come in its place.
  std::string text = flags.follow ? std::exchange(heading, "") : "";
  bool more = true;
  for (;;) {
    auto written = co_await out.Write(text);
    if (!written && written.error().errno_value() == EPIPE) co_return 128 + SIGPIPE;
    if (!written) co_return Err(std::move(written).error());
    if (!more) co_return 0;
    auto decision = co_await stream->Next();
    if (!decision) co_return Err(std::move(decision).error());
    more = decision->has_value();
    if (!more) {
      text = std::exchange(heading, "");
    } else if (flags.json) {
      text = ToJsonLine(**decision);
    } else if ((*decision)->missed() > 0) {
      text.clear();
      std::fputs(fmt::format("cleanroom: warning: {} decisions came too fast to be shown\n",
                             (*decision)->missed())
                     .c_str(),
                 stderr);
    } else {
      text = std::exchange(heading, "") + RowOf(**decision, colours);
    }
  }
}

Awaitable<Result<int>> SuggestFor(client::Api& api, Flags flags) {
  auto id = co_await ResolveSandbox(api, flags.sandbox);
  if (!id) co_return Err(std::move(id).error());
  v1::StreamSandboxNetworkRequest request;
  request.set_sandbox_id(*id);
  auto stream = co_await api.sandboxes.StreamSandboxNetwork(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  std::vector<v1::NetworkDecision> decisions;
  for (;;) {
    auto decision = co_await stream->Next();
    if (!decision) co_return Err(std::move(decision).error());
    if (!*decision) break;
    decisions.push_back(std::move(**decision));
  }
  const Suggestion suggestion = Suggest(decisions);
  co_return PrintAnswer(flags.json ? ToJson(suggestion) : ToYaml(suggestion));
}

}  // namespace

void AddSandboxNetworkCommand(CLI::App& group, Invocation& invocation) {
  CLI::App* command = AddCommand(group, kNetwork);
  const auto flags = std::make_shared<Flags>();
  AddSandboxChoice(*command, flags->sandbox);
  command->add_flag("-f,--follow", flags->follow, "Go on until the sandbox has ended");
  command->add_flag("--json", flags->json, "Print JSON, one object on each line");
  command->callback([&invocation, flags] {
    invocation.run = [&invocation, flags] {
      if (auto chosen = CheckSandboxChoice(flags->sandbox, "cleanroom sandbox network"); !chosen)
        return Fail(chosen.error());
      return RunConnected(invocation, [flags](client::Api& api) { return Network(api, *flags); });
    };
  });
}

void AddPolicySuggestCommand(CLI::App& group, Invocation& invocation) {
  CLI::App* command = AddCommand(group, kSuggest);
  const auto flags = std::make_shared<Flags>();
  AddSandboxChoice(*command, flags->sandbox);
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&invocation, flags] {
    invocation.run = [&invocation, flags] {
      if (auto chosen = CheckSandboxChoice(flags->sandbox, "cleanroom policy suggest"); !chosen)
        return Fail(chosen.error());
      return RunConnected(invocation,
                          [flags](client::Api& api) { return SuggestFor(api, *flags); });
    };
  });
}

std::string DescribeRefusals(const v1::ExecutionExit& exit, const std::string& sandbox_id) {
  std::string out;
  const int shown = std::min(exit.refused_size(), kMaxRefusalLines);
  const uint64_t more = exit.refused_more() + static_cast<uint64_t>(exit.refused_size() - shown);
  for (int i = 0; i < shown; ++i) {
    const v1::NetworkDecision& refused = exit.refused(i);
    out += Printable(fmt::format("cleanroom: refused {} ({})", DescribeDestination(refused),
                                 refused.reason_code()));
    if (i + 1 == shown && more == 0) break;
    out += '\n';
  }
  if (more > 0) out += fmt::format("cleanroom: and at least {} more", more);
  if (!out.empty()) out += "; see cleanroom policy suggest " + sandbox_id;
  return out;
}

}  // namespace cleanroom::cli
