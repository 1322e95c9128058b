// How help looks, where it differs from CLI11's.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

namespace cleanroom::cli {

class HelpFormat : public CLI::Formatter {
 public:
  // Lists of commands tell one line of each; the command's own help tells the rest.
  std::string make_subcommand(const CLI::App* command) const override {
    CLI::App brief(FirstLine(command->get_description()), command->get_name());
    return Formatter::make_subcommand(&brief);
  }
  std::string make_usage(const CLI::App* command, std::string name) const override {
    std::string usage = Formatter::make_usage(command, std::move(name));
    const std::string options = "[OPTIONS]";
    const size_t at = usage.find(options);
    const bool runs = command->get_name() == "exec" || command->get_name() == "console";
    if (at != std::string::npos && runs) usage.insert(at + options.size(), " -- COMMAND...");
    return "\n" + usage;
  }
  static std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }
};

}  // namespace cleanroom::cli
