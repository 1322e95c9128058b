// completion bash|zsh|fish: scripts made from the tree of commands itself.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/completion_script.h"
#include "cli/errors.h"
#include "cli/invocation.h"
#include "cli/session.h"

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

void Collect(const CLI::App& app, const std::string& path, std::vector<CompletionNode>& nodes) {
  CompletionNode node;
  node.path = path;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    // One line: the paragraph after the first is detail.
    const std::string text = sub->get_description();
    for (const std::string& name : Names(*sub))
      node.words.push_back({name, text.substr(0, text.find('\n'))});
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames())
      node.words.push_back({"-" + name, option->get_description()});
    for (const std::string& name : option->get_lnames())
      node.words.push_back({"--" + name, option->get_description()});
  }
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
