// cp: files and folders, into a sandbox and out of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "cli/commands/copy_files.h"
#include "cli/commands/copy_place.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kCopy = {
    "cp",
    "Copy a file or a folder into a sandbox, or out of it (also: copy)\n\n"
    "One side is ID:/PATH, absolute. Into a folder that is there, or a path that ends with a "
    "slash, it "
    "goes under\n"
    "its own name. Mode and time are kept; a file is replaced at once, when all of it has come.",
    "cleanroom cp report.txt 01kr7p9ksmfa7rmyypyqw2w8r0:/tmp/\n"
    "cleanroom cp 01kr7p9ksmfa7rmyypyqw2w8r0:/workspace/dist ./dist"};

struct Flags {
  std::string from;
  std::string to;
  bool json = false;
};

Awaitable<Result<int>> Copy(client::Api& api, CopyPlaces places, Flags flags, ProgressStyle style) {
  const auto executor = co_await asio::this_coro::executor;
  Progress progress(executor, style);
  progress.Start();
  const bool out = !places.from.sandbox_id.empty();
  auto copying = out ? CopyFromSandbox(api, std::move(places), progress)
                     : CopyIntoSandbox(api, std::move(places), progress);
  auto copied = co_await std::move(copying);
  co_await progress.Finish();
  if (!copied) co_return Err(std::move(copied).error());
  if (!flags.json) co_return 0;
  co_return PrintAnswer(
      fmt::format("{{\n  \"files\": {},\n  \"bytes\": {}\n}}\n", copied->files, copied->bytes));
}

int RunCopy(const Invocation& invocation, const Flags& flags) {
  auto places = ParseCopy(flags.from, flags.to);
  if (!places) return Fail(invocation, places.error());
  const ProgressStyle style = ChooseProgress(invocation, Quiet::kNo);
  return RunConnected(invocation,
                      [&](client::Api& api) { return Copy(api, *places, flags, style); });
}

}  // namespace

void AddCopyCommand(CLI::App& root, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(root, kCopy);
  command->alias("copy");
  command->add_option("source", flags->from, "What to copy: a path, or ID:/PATH")
      ->option_text("SRC")
      ->required();
  command->add_option("destination", flags->to, "Where to: ID:/PATH, or a path")
      ->option_text("DST")
      ->required();
  command->add_flag("--json", flags->json, "Print how many files and bytes were copied, as JSON");
  command->callback([flags, &invocation] {
    invocation.run = [flags, &invocation] { return RunCopy(invocation, *flags); };
  });
}

}  // namespace cleanroom::cli
