#include "cli/commands/workspace_diff.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/printable.h"
#include "base/utf8.h"
#include "cli/commands/bound_work_tree.h"
#include "cli/commands/sandbox_changes.h"
#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "os/file.h"

namespace cleanroom::cli {
namespace {

using Json = nlohmann::ordered_json;
using workspace::DiffedFile;
using workspace::SandboxDiff;

constexpr int kDiffers = 1;
constexpr size_t kWarnings = 20;
constexpr size_t kMaxHeld = size_t{1} << 20;

// Standard output, where the sandbox's contents come by.
class DiffOutput {
 public:
  DiffOutput() : terminal_(isatty(STDOUT_FILENO) == 1) {}

  Result<void> Write(std::string_view data) {
    if (!terminal_) return os::WriteAll(STDOUT_FILENO, data, "standard output");
    // By lines, so that no character is taken apart.
    held_ += data;
    const size_t end = held_.size() > kMaxHeld ? held_.size() : held_.rfind('\n') + 1;
    const std::string lines = held_.substr(0, end);
    held_.erase(0, end);
    return Show(lines);
  }
  Result<void> Finish() { return Show(std::exchange(held_, {})); }

 private:
  static Result<void> Show(const std::string& text) {
    return os::WriteAll(STDOUT_FILENO, EscapeUnprintable(text, "\n\t"), "standard output");
  }
  bool terminal_;
  std::string held_;
};

std::string_view StatusOf(const DiffedFile& file) {
  if (file.old_mode.empty()) return "added";
  if (file.mode.empty()) return "deleted";
  // A regular file has 10 in front of its permissions, a link 12, a submodule 16.
  return file.mode.substr(0, 2) == file.old_mode.substr(0, 2) ? "modified" : "type_changed";
}

Result<std::string> JsonOf(const SandboxDiff& diff, const ::cleanroom::v1::Sandbox& sandbox) {
  CR_TRY_ASSIGN(const auto files, diff.Files());
  Json json = {{"sandbox_id", sandbox.sandbox_id()},
               {"commit_sha", sandbox.repository_checkout().commit_sha()},
               {"files", Json::array()},
               {"left_out", Json::array()}};
  for (const DiffedFile& file : files) {
    Json entry = {{"path", ToValidUtf8(file.path)}, {"status", StatusOf(file)}};
    if (!file.old_mode.empty()) entry["old_mode"] = file.old_mode;
    if (!file.mode.empty()) entry["mode"] = file.mode;
    entry["binary"] = !file.lines.has_value();
    if (file.lines) {
      entry["added_lines"] = file.lines->added;
      entry["removed_lines"] = file.lines->removed;
    }
    json["files"].push_back(std::move(entry));
  }
  for (const auto& path : diff.left_out()) {
    json["left_out"].push_back(
        {{"path", ToValidUtf8(path.path)}, {"reason", ToValidUtf8(path.reason)}});
  }
  return json.dump() + "\n";
}

void WarnOfLeftOut(const SandboxDiff& diff) {
  size_t shown = 0;
  for (const auto& path : diff.left_out()) {
    if (++shown > kWarnings) break;
    PrintWarning(fmt::format("left out: {}: {}", path.path, path.reason));
  }
  if (diff.left_out().size() > kWarnings)
    PrintWarning(fmt::format("left out: {} more", diff.left_out().size() - kWarnings));
}

Result<void> Print(const SandboxDiff& diff, const ::cleanroom::v1::Sandbox& sandbox,
                   const DiffOptions& options) {
  if (options.json) {
    CR_TRY_ASSIGN(const auto text, JsonOf(diff, sandbox));
    return os::WriteAll(STDOUT_FILENO, text, "standard output");
  }
  WarnOfLeftOut(diff);
  DiffOutput out;
  CR_TRY(diff.Print(options.form, [&out](std::string_view data) { return out.Write(data); }));
  return out.Finish();
}

}  // namespace

Awaitable<Result<int>> Diff(client::Api& api, std::string sandbox_id, DiffOptions options) {
  auto sandbox = co_await FindWithRepository(api, sandbox_id);
  if (!sandbox) co_return Err(std::move(sandbox).error());
  const std::string commit = sandbox->repository_checkout().commit_sha();
  CR_CO_TRY_ASSIGN(const auto repository, RepositoryWithCommitOf(*sandbox));
  workspace::Baseline baseline;
  baseline.commit = commit;
  auto fetched = co_await FetchChanges(api, *sandbox, repository, std::move(baseline));
  if (!fetched) co_return Err(std::move(fetched).error());
  CR_CO_TRY_ASSIGN(const auto diff,
                   SandboxDiff::Make(repository, commit, fetched->incoming, fetched->tar.get()));
  const Result<void> printed = Print(diff, *sandbox, options);
  if (!printed && printed.error().errno_value() == EPIPE) co_return 128 + SIGPIPE;
  if (!printed) co_return Err(printed.error());
  co_return diff.differs() || !diff.left_out().empty() ? kDiffers : 0;
}

}  // namespace cleanroom::cli
