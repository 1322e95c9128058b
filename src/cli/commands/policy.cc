// policy validate: offline, no daemon; network.h has policy suggest.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "cli/commands/network.h"
#include "cli/commands/policy_source.h"
#include "cli/commands/sandbox_create.h"
#include "cli/output/json.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"
#include "document/document.h"
#include "policy/compiled.h"
#include "policy/load.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kValidate = {
    "validate",
    "Check a policy file, and print where it is and its hash\n\n"
    "Reports everything that is wrong, with file, line and column. Needs no daemon.",
    "cleanroom policy validate\n"
    "cleanroom policy validate -c ci/cleanroom.yaml --json"};

struct Flags {
  std::string file;
  std::string chdir;
  bool json = false;
};

int Invalid(const Flags& flags, const std::string& path,
            const std::vector<document::Diagnostic>& errors) {
  if (flags.json) {
    const int printed = PrintAnswer(InvalidPolicyJson(path, errors));
    if (printed != 0) return printed;
  } else {
    const std::string lines = Printable(document::Format(errors), Newlines::kKeep) + "\n";
    std::fwrite(lines.data(), 1, lines.size(), stderr);
  }
  return Fail(Error(ErrorCode::kPolicyInvalid, fmt::format("{} has {} error{}", path, errors.size(),
                                                           errors.size() == 1 ? "" : "s")));
}

int Validate(const Invocation& invocation, const Flags& flags) {
  const std::string directory = flags.chdir.empty() ? "." : flags.chdir;
  PolicySource source;
  source.path = flags.file;
  if (source.path.empty()) {
    auto found = FindPolicyFile(directory);
    if (!found) return Fail(invocation, found.error());
    source.path = std::move(found->path);
    source.warning = std::move(found->warning);
  } else if (!flags.chdir.empty() && !source.path.starts_with('/')) {
    source.path = flags.chdir + "/" + source.path;
  }
  WarnAbout(invocation, source);

  const auto text = document::ReadDocumentFile(source.path);
  if (!text) return Fail(invocation, text.error());
  auto parsed = policy::Parse(*text, source.path);
  if (!parsed) return Invalid(flags, source.path, parsed.error());
  const auto compiled = policy::CompiledPolicy::Compile(std::move(*parsed));
  if (!compiled) return Fail(compiled.error());

  std::error_code ignored;
  const std::string path = std::filesystem::weakly_canonical(source.path, ignored).string();
  if (flags.json)
    return PrintAnswer(ValidPolicyJson(path, compiled->hash(), compiled->CanonicalJson()));
  return PrintAnswer(fmt::format("source: {}\nhash:   {}\n", Printable(path), compiled->hash()));
}

}  // namespace

void AddPolicyCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "policy", "Check policy files, and see what is missing in them");
  AddPolicySuggestCommand(*group, invocation);
  CLI::App* command = AddCommand(*group, kValidate);
  const auto flags = std::make_shared<Flags>();
  command->add_option("-c,--policy", flags->file, "The file, instead of looking for cleanroom.yaml")
      ->option_text("FILE");
  command->add_option("-C,--chdir", flags->chdir, "Act as if started in this directory")
      ->option_text("DIR");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&invocation, flags] {
    invocation.run = [&invocation, flags] { return Validate(invocation, *flags); };
  });
}

}  // namespace cleanroom::cli
