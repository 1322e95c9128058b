#include "cli/commands/workspace_copy_out.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "archive/byte_source.h"
#include "cli/commands/bound_work_tree.h"
#include "cli/output/text.h"
#include "os/file.h"
#include "os/scratch.h"
#include "workspace/copy_apply.h"
#include "workspace/git.h"
#include "workspace/incoming.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;
using workspace::Action;

constexpr size_t kMaxArchivePaths = 1000;  // of one call
constexpr size_t kArchiveEnd = 1024;       // two blocks of zeros
constexpr size_t kConflictsShown = 100;

struct SandboxChanges {
  std::vector<std::string> written;  // files and links
  std::vector<std::string> gone;     // each with all that was below it
};

Awaitable<Result<SandboxChanges>> ListChanges(client::Api& api, v1::Sandbox sandbox) {
  v1::WalkSandboxTreeRequest request;
  request.set_sandbox_id(sandbox.sandbox_id());
  request.set_path(sandbox.repository_checkout().destination_dir());
  request.set_changes(true);
  const size_t prefix = request.path().size() + 1;
  auto stream = co_await api.sandboxes.WalkSandboxTree(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  SandboxChanges out;
  for (;;) {
    auto next = co_await stream->Next();
    if (!next) co_return Err(std::move(next).error());
    if (!*next) break;
    const v1::SandboxPathInfo& info = (*next)->info();
    // A name that is not UTF-8 is in raw_path.
    const std::string& path = info.raw_path().empty() ? info.path() : info.raw_path();
    if (path.size() <= prefix) continue;
    if (info.type() == v1::SANDBOX_PATH_TYPE_GONE) out.gone.push_back(path.substr(prefix));
    if (info.type() == v1::SANDBOX_PATH_TYPE_FILE || info.type() == v1::SANDBOX_PATH_TYPE_SYMLINK) {
      out.written.push_back(path.substr(prefix));
    }
  }
  std::ranges::sort(out.written);
  out.written.erase(std::ranges::unique(out.written).begin(), out.written.end());
  co_return out;
}

// Which files of the baseline are no more.
Result<std::vector<std::string>> Deleted(const workspace::CopyTarget& target,
                                         const SandboxChanges& changes) {
  if (changes.gone.empty()) return std::vector<std::string>();
  CR_TRY_ASSIGN(auto files, target.repository.git->ReadNames({"ls-tree", "-r", "-z", "--name-only",
                                                              "--full-tree", "--end-of-options",
                                                              target.baseline.commit}));
  for (const auto& file : target.baseline.manifest) files.push_back(file.path);
  std::ranges::sort(files);
  files.erase(std::ranges::unique(files).begin(), files.end());
  const std::set<std::string, std::less<>> gone(changes.gone.begin(), changes.gone.end());
  std::vector<std::string> out;
  for (const std::string& file : files) {
    bool below = gone.contains(file);
    for (size_t slash = file.find('/'); !below && slash != file.npos;
         slash = file.find('/', slash + 1)) {
      below = gone.contains(std::string_view(file).substr(0, slash));
    }
    if (below && !std::ranges::binary_search(changes.written, file)) out.push_back(file);
  }
  return out;
}

// Ignored files do not travel, so they are not fetched either.
Result<void> DropIgnored(const workspace::Repository& repository, SandboxChanges& changes) {
  if (changes.written.empty()) return {};
  std::vector<std::string> names;
  for (const std::string& path : changes.written) names.push_back("./" + path);
  CR_TRY_ASSIGN(const auto said, repository.git->Try({"check-ignore", "-z", "--stdin"},
                                                     {.input = workspace::JoinNames(names)}));
  // 1: none of them is.
  if (!said.status.ok() && said.status.ShellCode() != 1) return {};
  std::set<std::string> ignored;
  for (const std::string& name : workspace::SplitNames(said.out)) ignored.insert(name.substr(2));
  std::erase_if(changes.written, [&](const std::string& path) { return ignored.contains(path); });
  return {};
}

// Appends an archive of these paths to the file, in place of the end of the one before.
Awaitable<Result<uint64_t>> Fetch(client::Api& api, v1::ArchiveSandboxPathsRequest request,
                                  int file, uint64_t offset) {
  auto stream = co_await api.sandboxes.ArchiveSandboxPaths(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  if (offset >= kArchiveEnd) offset -= kArchiveEnd;
  for (;;) {
    auto next = co_await stream->Next();
    if (!next) co_return Err(std::move(next).error());
    if (!*next) co_return offset;
    const std::string& data = (*next)->data();
    CR_CO_TRY(
        os::PwriteAll(file, {reinterpret_cast<const uint8_t*>(data.data()), data.size()}, offset));
    offset += data.size();
  }
}

Awaitable<Result<os::UniqueFd>> FetchAll(client::Api& api, v1::Sandbox sandbox,
                                         std::vector<std::string> paths) {
  CR_CO_TRY_ASSIGN(os::UniqueFd file, os::OpenUnnamed(std::filesystem::temp_directory_path()));
  // Of an archive of nothing there is only the end.
  const std::vector<uint8_t> end_mark(kArchiveEnd);
  CR_CO_TRY(os::PwriteAll(file.get(), end_mark, 0));
  uint64_t offset = 0;
  for (size_t begin = 0; begin < paths.size(); begin += kMaxArchivePaths) {
    v1::ArchiveSandboxPathsRequest request;
    request.set_sandbox_id(sandbox.sandbox_id());
    request.set_base(sandbox.repository_checkout().destination_dir());
    const size_t end = std::min(begin + kMaxArchivePaths, paths.size());
    for (size_t i = begin; i < end; ++i) request.add_raw_paths(paths[i]);
    auto at = co_await Fetch(api, std::move(request), file.get(), offset);
    if (!at) co_return Err(std::move(at).error());
    offset = *at;
  }
  co_return file;
}

Error Conflicts(const workspace::CopyPlan& plan) {
  std::string text = "nothing was copied, for the local work tree has other changes:";
  size_t shown = 0;
  for (const auto& path : plan.paths) {
    if (path.action != Action::kConflict || ++shown > kConflictsShown) continue;
    text += fmt::format("\n  {}: {}", Printable(path.path), path.reason);
  }
  return Error(ErrorCode::kFailedPrecondition, std::move(text))
      .Remedy("Settle them, or take the sandbox's with: cleanroom workspace copy-out --force");
}

}  // namespace

Awaitable<Result<CopiedOut>> CopyOut(client::Api& api, std::string sandbox_id,
                                     CopyOutOptions options) {
  auto sandbox = co_await FindWithRepository(api, sandbox_id);
  if (!sandbox) co_return Err(std::move(sandbox).error());
  CR_CO_TRY_ASSIGN(const auto target, TargetOf(*sandbox));
  auto changes = co_await ListChanges(api, *sandbox);
  if (!changes) co_return Err(std::move(changes).error());
  CR_CO_TRY_ASSIGN(auto deleted, Deleted(target, *changes));
  CR_CO_TRY(DropIgnored(target.repository, *changes));
  auto tar = co_await FetchAll(api, *sandbox, changes->written);
  if (!tar) co_return Err(std::move(tar).error());
  CR_CO_TRY_ASSIGN(const uint64_t size, os::FileSize(tar->get()));
  archive::FileSource source(tar->get(), 0, size);
  CR_CO_TRY_ASSIGN(
      const workspace::Incoming incoming,
      workspace::ReadIncoming(source, std::move(deleted), target.repository.object_format));
  CR_CO_TRY_ASSIGN(auto plan, workspace::PlanCopyOut(target.repository, target.baseline, incoming,
                                                     options.force));
  CopiedOut out;
  if (!options.dry_run) {
    if (plan.CountOf(Action::kConflict) > 0) co_return Err(Conflicts(plan));
    CR_CO_TRY_ASSIGN(const auto applied, workspace::ApplyCopyOut(plan, tar->get()));
    out.written = applied.written;
    out.deleted = applied.deleted;
  }
  out.paths = std::move(plan.paths);
  for (auto& path : out.paths) path.file = nullptr;
  co_return out;
}

}  // namespace cleanroom::cli
