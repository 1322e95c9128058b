// completion bash|zsh|fish: scripts made from the tree of commands itself.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands/completion_script.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kCompletion = {
    "completion", "Print a completion script for bash, zsh or fish",
    "source <(cleanroom completion bash)\n"
    "cleanroom completion zsh > \"${fpath[1]}/_cleanroom\"\n"
    "cleanroom completion fish > ~/.config/fish/completions/cleanroom.fish"};

std::vector<std::string> Names(const CLI::App& app) {
  std::vector<std::string> names = {app.get_name()};
  for (const std::string& alias : app.get_aliases()) names.push_back(alias);
  return names;
}

using Ids = CompletionNode::Ids;

// What is known of the values of a flag or argument: `name` without dashes.
struct KnownValues {
  const char* name;
  std::vector<CompletionWord> words;
  Ids ids = Ids::kNone;
};

const KnownValues* Known(const std::string& name, const std::string& path) {
  static const std::vector<CompletionWord> kBackends = {
      {"qemu", "The default"}, {"firecracker", ""}, {"darwin-vz", "Of a macOS host"}};
  static const std::vector<CompletionWord> kLevels = {
      {"error", ""}, {"warn", ""}, {"info", ""}, {"debug", ""}};
  static const KnownValues kKnown[] = {
      {"backend", kBackends},      {"default-backend", kBackends},
      {"log-level", kLevels},      {"shell", {{"bash", ""}, {"zsh", ""}, {"fish", ""}}},
      {"in", {}, Ids::kSandboxes}, {"sandbox-id", {}, Ids::kSandboxes},
      {"id", {}, Ids::kSandboxes},
  };
  // The argument `id` of these is no sandbox's.
  if (name == "id" && path.starts_with("execution")) return nullptr;
  for (const KnownValues& known : kKnown) {
    if (name == known.name) return &known;
  }
  return nullptr;
}

// The flag's name goes into `command`; when it takes a value, what that may be becomes a node.
void CollectOption(const CLI::Option& option, const std::string& path, CompletionNode& command,
                   std::vector<CompletionNode>& nodes) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  for (const std::string& name : names) command.words.push_back({name, option.get_description()});
  const std::string plain = names.empty()                 ? option.get_name()
                            : option.get_lnames().empty() ? option.get_snames().front()
                                                          : option.get_lnames().front();
  const KnownValues* known = Known(plain, path);
  if (names.empty() && known != nullptr) {  // an argument
    command.words.insert(command.words.end(), known->words.begin(), known->words.end());
    command.ids = known->ids;
  }
  if (option.get_items_expected_max() == 0) return;
  for (const std::string& name : names) {
    CompletionNode value;
    value.kind = CompletionNode::Kind::kFlag;
    value.path = path.empty() ? name : fmt::format("{} {}", path, name);
    if (known != nullptr) {
      value.words = known->words;
      value.ids = known->ids;
    }
    nodes.push_back(std::move(value));
  }
}

void Collect(const CLI::App& app, const std::string& path, std::vector<CompletionNode>& nodes) {
  CompletionNode node;
  node.path = path;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    // One line: the paragraph after the first is detail.
    const std::string text = sub->get_description();
    for (const std::string& name : Names(*sub))
      node.words.push_back({name, text.substr(0, text.find('\n'))});
  }
  for (const CLI::Option* option : app.get_options()) CollectOption(*option, path, node, nodes);
  nodes.push_back(std::move(node));
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    for (const std::string& name : Names(*sub))
      Collect(*sub, path.empty() ? name : fmt::format("{} {}", path, name), nodes);
  }
}

}  // namespace

void AddCompletionCommand(CLI::App& root, Invocation& invocation) {
  CLI::App* command = AddCommand(root, kCompletion);
  const auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->option_text("SHELL")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
  command->callback([&invocation, &root, shell] {
    invocation.run = [&root, shell] {
      std::vector<CompletionNode> nodes;
      Collect(root, "", nodes);
      if (*shell == "bash") return PrintAnswer(BashCompletion(nodes));
      if (*shell == "zsh") return PrintAnswer(ZshCompletion(nodes));
      return PrintAnswer(FishCompletion(nodes));
    };
  });
}

}  // namespace cleanroom::cli
