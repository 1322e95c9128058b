// workspace copy-in, copy-out and diff: the work tree of a sandbox and the local one.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/id.h"
#include "base/utf8.h"
#include "cli/commands/workspace_copy_in.h"
#include "cli/commands/workspace_copy_out.h"
#include "cli/commands/workspace_diff.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

using Json = nlohmann::ordered_json;
using workspace::Action;

constexpr CommandHelp kCopyIn = {
    "copy-in",
    "Copy local changes into a sandbox's work tree\n\n"
    "Makes what the local work tree has beyond its commit the state of the sandbox's: changed "
    "files, "
    "new ones that git\n"
    "does not ignore, deletions. The sandbox must be of the same commit, and no command may run in "
    "it.\n"
    "Files named in .cleanroomignore stay here.",
    "cleanroom workspace copy-in 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom workspace copy-in --dry-run 01kr7p9ksmfa7rmyypyqw2w8r0"};

constexpr CommandHelp kCopyOut = {
    "copy-out",
    "Copy changes of a sandbox's work tree back\n\n"
    "Brings files that were changed, added or deleted in the sandbox into the work tree that it "
    "was "
    "made from. Ignored\n"
    "files do not travel, nor does anything of .git. What has changed on both sides is a conflict: "
    "all of them are\n"
    "listed, and nothing is written, unless --force takes the sandbox's.",
    "cleanroom workspace copy-out 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom workspace copy-out --dry-run 01kr7p9ksmfa7rmyypyqw2w8r0"};

constexpr CommandHelp kDiff = {
    "diff",
    "Show what has changed in a sandbox's work tree\n\n"
    "A patch for `git apply`, of the sandbox's work tree against the commit that it began with: "
    "local changes that\n"
    "were copied in are part of it. New files that git ignores here are not. The exit code is 1 "
    "when there is a\n"
    "difference, 0 when there is none, and 2 after an error.",
    "cleanroom workspace diff 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom workspace diff --stat 01kr7p9ksmfa7rmyypyqw2w8r0\n"
    "cleanroom workspace diff 01kr7p9ksmfa7rmyypyqw2w8r0 | git apply"};
constexpr int kDiffFailed = 2;

struct Flags {
  std::string sandbox_id;
  bool dry_run = false;
  bool force = false;
  bool json = false;
};

std::string Line(std::string_view action, const std::string& path, const std::string& reason) {
  return fmt::format("{:8} {}{}\n", action, Printable(path),
                     reason.empty() ? "" : fmt::format("  ({})", Printable(reason)));
}

std::string ToText(const CopiedIn& copied) {
  std::string text;
  for (const std::string& path : copied.written) text += Line("write", path, "");
  for (const std::string& path : copied.removed) text += Line("delete", path, "");
  return text;
}

std::string ToJson(const CopiedIn& copied, const Flags& flags) {
  Json json = {{"dry_run", flags.dry_run}, {"paths", Json::array()}};
  const auto add = [&json](const char* action, const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      json["paths"].push_back({{"path", ToValidUtf8(path)}, {"action", action}});
    }
  };
  add("write", copied.written);
  add("delete", copied.removed);
  return json.dump() + "\n";
}

std::string ToText(const CopiedOut& copied, const Flags& flags) {
  std::string text;
  for (const auto& path : copied.paths) {
    if (path.action == Action::kNothing) continue;
    if (!flags.dry_run && path.action == Action::kSkip) continue;
    text += Line(ToString(path.action), path.path, path.reason);
    if (!path.warning.empty()) PrintWarning(fmt::format("{}: {}", path.path, path.warning));
  }
  return text;
}

std::string ToJson(const CopiedOut& copied, const Flags& flags) {
  Json json = {{"dry_run", flags.dry_run},
               {"written", copied.written},
               {"deleted", copied.deleted},
               {"paths", Json::array()}};
  for (const auto& path : copied.paths) {
    Json entry = {{"path", ToValidUtf8(path.path)},
                  {"action", ToString(path.action)},
                  {"reason", ToValidUtf8(path.reason)}};
    if (!path.warning.empty()) entry["warning"] = ToValidUtf8(path.warning);
    json["paths"].push_back(std::move(entry));
  }
  return json.dump() + "\n";
}

Awaitable<Result<int>> RunCopyIn(client::Api& api, Flags flags) {
  auto copied = co_await CopyIn(api, flags.sandbox_id, {.dry_run = flags.dry_run});
  if (!copied) co_return Err(std::move(copied).error());
  co_return PrintAnswer(flags.json ? ToJson(*copied, flags) : ToText(*copied));
}

Awaitable<Result<int>> RunCopyOut(client::Api& api, Flags flags) {
  const CopyOutOptions options{
      .dry_run = flags.dry_run,
      .force = flags.force ? workspace::Force::kYes : workspace::Force::kNo};
  auto copied = co_await CopyOut(api, flags.sandbox_id, options);
  if (!copied) co_return Err(std::move(copied).error());
  co_return PrintAnswer(flags.json ? ToJson(*copied, flags) : ToText(*copied, flags));
}

void Add(CLI::App& group, Invocation& invocation, const CommandHelp& help,
         Awaitable<Result<int>> (*run)(client::Api&, Flags), bool forces) {
  CLI::App* command = AddCommand(group, help);
  const auto flags = std::make_shared<Flags>();
  command->add_option("id", flags->sandbox_id, "The sandbox")->option_text("ID")->required();
  command->add_flag("--dry-run", flags->dry_run, "Only say what would be done, path by path");
  if (forces) {
    command->add_flag("--force", flags->force, "Write over local changes that are in the way");
  }
  command->add_flag("--json", flags->json, "Write JSON");
  command->callback([&invocation, flags, run] {
    invocation.run = [&invocation, flags, run] {
      if (auto id = CheckId(flags->sandbox_id, "sandbox id"); !id) {
        return Fail(invocation, id.error());
      }
      return RunConnected(invocation, [&](client::Api& api) { return run(api, *flags); });
    };
  });
}

void AddDiff(CLI::App& group, Invocation& invocation) {
  CLI::App* command = AddCommand(group, kDiff);
  struct DiffFlags {
    std::string sandbox_id;
    bool stat = false;
    bool names = false;
    bool json = false;
  };
  const auto flags = std::make_shared<DiffFlags>();
  command->add_option("id", flags->sandbox_id, "The sandbox")->option_text("ID")->required();
  CLI::Option* stat = command->add_flag("--stat", flags->stat, "Only count the lines of each file");
  command->add_flag("--name-only", flags->names, "Only name the files")->excludes(stat);
  command->add_flag("--json", flags->json, "Write JSON: the files, and their lines counted");
  // Also of mistakes in its flags.
  command->preparse_callback([&invocation](size_t) { invocation.failure_code = kDiffFailed; });
  command->callback([&invocation, flags] {
    invocation.run = [&invocation, flags] {
      if (auto id = CheckId(flags->sandbox_id, "sandbox id"); !id) {
        return Fail(invocation, id.error());
      }
      using Form = workspace::SandboxDiff::Form;
      const DiffOptions options{.form = flags->stat    ? Form::kStat
                                        : flags->names ? Form::kNames
                                                       : Form::kPatch,
                                .json = flags->json};
      return RunConnected(invocation,
                          [&](client::Api& api) { return Diff(api, flags->sandbox_id, options); });
    };
  });
}

}  // namespace

void AddWorkspaceCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "workspace", "The work tree of a sandbox, and the local one");
  Add(*group, invocation, kCopyIn, RunCopyIn, false);
  Add(*group, invocation, kCopyOut, RunCopyOut, true);
  AddDiff(*group, invocation);
}

}  // namespace cleanroom::cli
