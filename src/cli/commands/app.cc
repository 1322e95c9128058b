#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "cli/output/help_format.h"
#include "cli/output/text.h"
#include "cli/session/daemon_program.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/version.h"

namespace cleanroom::cli {
namespace {

constexpr const char* kClientFlagsHelp =
    "\nClient flags, taken by every command:\n"
    "  --host URL         the daemon: unix:///PATH, http://HOST:PORT or https://HOST:PORT; else "
    "CLEANROOM_HOST,\n"
    "                     control_host in the config, the system's socket, the user's socket\n"
    "  --tls-ca FILE      authorities to trust for https, instead of the system's; else "
    "CLEANROOM_TLS_CA, tls/ca.pem\n"
    "                     in the config's folder\n"
    "  --auth-token TOKEN the daemon's token (CLEANROOM_AUTH_TOKEN)\n"
    "  --log-level LEVEL  error, warn (default), info or debug: what is told on standard error\n";

// "cleanroom image pull": the deepest command that the parser reached.
std::string Reached(const CLI::App& root) {
  std::string path = "cleanroom";
  const CLI::App* app = &root;
  for (;;) {
    const auto chosen = app->get_subcommands();
    if (chosen.empty()) return path;
    app = chosen.front();
    path += " " + app->get_name();
  }
}

const CLI::App* FindCommand(const CLI::App& parent, const std::string& name) {
  for (const CLI::App* sub : parent.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->check_name(name)) return sub;
  }
  return nullptr;
}

LogLevel ParseLevel(const std::string& text) {
  if (text == "error") return LogLevel::kError;
  if (text == "warn") return LogLevel::kWarn;
  if (text == "info") return LogLevel::kInfo;
  if (text == "debug") return LogLevel::kDebug;
  throw CLI::ValidationError(
      "--log-level", fmt::format("'{}' is no level; write error, warn, info or debug", text));
}

// What is wrong with words that no command or flag took, in the order they were written.
Error Unexpected(const std::vector<std::string>& words, const std::string& reached,
                 bool separated) {
  const bool runs = reached == "cleanroom exec" || reached == "cleanroom console";
  if (runs && !separated && !words.front().starts_with('-')) {
    return UsageError(
        fmt::format("write -- before the command: {} ... -- {}", reached, ShellQuote(words)),
        reached);
  }
  return UsageError(fmt::format("'{}' is no command or flag here", words.front()), reached);
}

int Parse(CLI::App& root, Invocation& invocation, std::vector<std::string> args) {
  const auto separator = std::find(args.begin(), args.end(), "--");
  if (separator != args.end()) {
    invocation.command.emplace(separator + 1, args.end());
    args.erase(separator, args.end());
  }
  std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
  try {
    root.parse(args);
  } catch (const CLI::Success& asked) {
    return root.exit(asked);  // --help, --version
  } catch (const CLI::RequiredError& error) {
    const std::string reached = Reached(root);
    const std::vector<std::string> rest = root.remaining(true);
    // Also what a group is missing, when a word stands in its place.
    if (!rest.empty())
      return Fail(invocation, Unexpected(rest, reached, invocation.command.has_value()));
    if (reached == "cleanroom") {
      const std::string help = root.help();
      std::fwrite(help.data(), 1, help.size(), stderr);
      return 1;
    }
    return Fail(invocation, UsageError(error.what(), reached));
  } catch (const CLI::ExtrasError& error) {
    const std::vector<std::string> rest = root.remaining(true);
    if (rest.empty()) return Fail(invocation, UsageError(error.what(), Reached(root)));
    return Fail(invocation, Unexpected(rest, Reached(root), invocation.command.has_value()));
  } catch (const CLI::ParseError& error) {
    return Fail(invocation, UsageError(error.what(), Reached(root)));
  }
  return 0;
}

}  // namespace

CLI::App* AddCommand(CLI::App& parent, const CommandHelp& help) {
  CLI::App* command = parent.add_subcommand(help.name, help.summary);
  std::string footer;
  if (help.examples != nullptr && *help.examples != '\0') {
    footer = "\nExamples:\n";
    std::string_view rest = help.examples;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      footer.append("  ").append(rest.substr(0, end)).append("\n");
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  command->footer(footer + kClientFlagsHelp);
  return command;
}

CLI::App* AddGroup(CLI::App& parent, const char* name, const char* summary) {
  CLI::App* group = parent.add_subcommand(name, summary);
  group->require_subcommand(1);
  return group;
}

std::unique_ptr<CLI::App> BuildTree(Invocation& invocation) {
  auto root = std::make_unique<CLI::App>(
      "Runs untrusted code in microVMs that reach only what a policy allows.");
  root->name("cleanroom");
  root->formatter(std::make_shared<HelpFormat>());  // the commands inherit it
  root->set_version_flag("--version", std::string("cleanroom ") + kVersion);
  root->set_help_flag("-h,--help", "Print this help and exit");
  root->fallthrough();
  root->require_subcommand(1);

  ClientFlags& client = invocation.client;
  root->add_option("--host", client.host, "The daemon to talk to")
      ->option_text("URL")
      ->group("Client flags");
  root->add_option("--tls-ca", client.tls_ca, "Authorities to trust for https")
      ->option_text("FILE")
      ->group("Client flags");
  root->add_option("--auth-token", client.auth_token, "The daemon's token")
      ->option_text("TOKEN")
      ->group("Client flags");
  root->add_option_function<std::string>(
          "--log-level",
          [&client](const std::string& text) { client.log_level = ParseLevel(text); },
          "error, warn, info or debug")
      ->option_text("LEVEL")
      ->group("Client flags");

  AddExecCommands(*root, invocation);
  AddSandboxCommands(*root, invocation);
  AddExecutionCommands(*root, invocation);
  AddCopyCommand(*root, invocation);
  AddWorkspaceCommands(*root, invocation);
  AddPolicyCommands(*root, invocation);
  AddImageCommands(*root, invocation);
  AddConfigCommands(*root, invocation);
  AddGatewayCommands(*root, invocation);
  AddSystemCommands(*root, invocation);
  AddHostCommands(*root, invocation);
  AddCompletionCommand(*root, invocation);
  root->footer(
      "\nExamples:\n"
      "  cleanroom serve &\n"
      "  cleanroom doctor\n"
      "  cleanroom exec -- uname -a\n"
      "  cleanroom exec --rm --image docker.io/library/alpine@sha256:... -- uname -a\n"
      "  cleanroom console -- bash\n"
      "\n`cleanroom help COMMAND` tells more about each.");
  return root;
}

int Main(std::vector<std::string> args) {
  Invocation invocation;
  const auto root = BuildTree(invocation);
  // `cleanroom help image pull` is `cleanroom image pull --help`.
  if (!args.empty() && args.front() == "help") {
    args.erase(args.begin());
    const CLI::App* at = root.get();
    for (const std::string& word : args) {
      const CLI::App* const next = FindCommand(*at, word);
      if (next == nullptr)
        return Fail(UsageError(fmt::format("'{}' is no command", word), at->get_name()));
      at = next;
    }
    args.emplace_back("--help");
  }
  // Its flags are the daemon's, so they are passed on unread.
  if (!args.empty() && args.front() == "serve") {
    args.erase(args.begin());
    return Fail(BecomeDaemon(args));
  }
  const int parsed = Parse(*root, invocation, std::move(args));
  if (parsed != 0 || !invocation.run) return parsed;
  invocation.name = Reached(*root);
  if (invocation.command && invocation.name != "cleanroom exec" &&
      invocation.name != "cleanroom console") {
    return Fail(invocation, UsageError("nothing may follow '--' here", invocation.name));
  }
  return invocation.run();
}

}  // namespace cleanroom::cli
