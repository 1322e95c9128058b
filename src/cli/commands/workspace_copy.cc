#include "cli/commands/workspace_copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <utility>

#include "archive/byte_source.h"
#include "cli/output/text.h"
#include "config/paths.h"
#include "os/file.h"
#include "os/scratch.h"
#include "rpc/relay.h"
#include "tree/packer.h"
#include "workspace/binding.h"
#include "workspace/copy_apply.h"
#include "workspace/git.h"
#include "workspace/incoming.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;
using workspace::Action;

// Of a change set in a request; the daemon takes no larger message.
constexpr size_t kMaxPatch = 16U << 20;
constexpr size_t kPiece = 256U << 10;
constexpr size_t kMaxArchivePaths = 1000;  // of one call
constexpr size_t kArchiveEnd = 1024;       // two blocks of zeros
constexpr size_t kConflictsShown = 100;
constexpr const char* kRemote = "origin";
constexpr rpc::SendLimits kLimits{.write = std::chrono::minutes(10),
                                  .answer = std::chrono::minutes(90)};

Result<workspace::BindingStore> Bindings() {
  CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
  return workspace::BindingStore(paths.state_dir);
}

Awaitable<Result<v1::Sandbox>> FindSandbox(client::Api& api, std::string sandbox_id) {
  v1::GetSandboxRequest request;
  request.set_sandbox_id(sandbox_id);
  auto answer = co_await api.sandboxes.GetSandbox(std::move(request));
  if (!answer) co_return Err(std::move(answer).error());
  v1::Sandbox sandbox = std::move(*answer->mutable_sandbox());
  if (!sandbox.has_repository_checkout()) {
    co_return Err(Error(ErrorCode::kFailedPrecondition,
                        fmt::format("sandbox {} has no repository", sandbox_id))
                      .About(SubjectKind::kSandbox, sandbox_id)
                      .Remedy("Copy files with: cleanroom cp"));
  }
  co_return sandbox;
}

Result<workspace::CopyTarget> TargetOf(const v1::Sandbox& sandbox) {
  const v1::RepositoryCheckout& checkout = sandbox.repository_checkout();
  CR_TRY_ASSIGN(const auto bindings, Bindings());
  CR_TRY_ASSIGN(const auto binding, bindings.Load(sandbox.sandbox_id()));
  CR_TRY_ASSIGN(const auto url, workspace::RemoteUrl::Parse(checkout.remote_url()));
  return workspace::ChooseCopyTarget(
      binding, {.remote_identity = url.Identity(), .commit = checkout.commit_sha()}, kRemote, ".");
}

// --- Into the sandbox ---------------------------------------------------------------------------

struct PackedTree {
  std::string sandbox_id;
  std::string destination;
  tree::Packer packer;
  bool begun = false;
  bool ended = false;

  Awaitable<Result<std::optional<v1::ExtractSandboxArchiveRequest>>> Next() {
    std::optional<v1::ExtractSandboxArchiveRequest> message(std::in_place);
    if (!std::exchange(begun, true)) {
      message->mutable_init()->set_sandbox_id(sandbox_id);
      message->mutable_init()->set_destination(destination);
      co_return message;
    }
    if (ended) co_return std::optional<v1::ExtractSandboxArchiveRequest>();
    CR_CO_TRY_ASSIGN(const bool more, packer.Fill(*message->mutable_data(), kPiece));
    ended = !more;
    co_return message;
  }
};

// A file of the work tree; no folder on the way to it may be a link.
Result<tree::Packer::Start> OpenLocal(const std::string& top, const std::string& path) {
  const size_t slash = path.rfind('/');
  tree::Packer::Start start;
  CR_TRY_ASSIGN(start.folder, os::Open(top, O_RDONLY | O_DIRECTORY));
  for (size_t begin = 0; slash != path.npos && begin < slash;) {
    const size_t end = path.find('/', begin);
    const std::string name = path.substr(begin, end - begin);
    os::UniqueFd next(
        openat(start.folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return ErrErrno(os::CodeForErrno(errno), fmt::format("open {}", path));
    start.folder = std::move(next);
    begin = end + 1;
  }
  start.name = slash == path.npos ? path : path.substr(slash + 1);
  start.path = path;
  return start;
}

Awaitable<Result<void>> SendFiles(client::Api& api, std::string sandbox_id, std::string top,
                                  std::string destination, std::vector<std::string> paths) {
  if (paths.empty()) co_return Result<void>();
  const auto open = [top](const std::string& path) { return OpenLocal(top, path); };
  PackedTree source{.sandbox_id = std::move(sandbox_id),
                    .destination = std::move(destination),
                    .packer = tree::Packer(std::move(paths), open, tree::Mounts::kAll)};
  auto stream = co_await api.sandboxes.ExtractSandboxArchive();
  if (!stream) co_return Err(std::move(stream).error());
  const rpc::InputSource<v1::ExtractSandboxArchiveRequest> next = [&source] {
    return source.Next();
  };
  auto sent = co_await rpc::SendAll(*std::move(stream), next, kLimits);
  if (!sent) co_return Err(std::move(sent).error());
  co_return Result<void>();
}

Awaitable<Result<void>> RemoveFiles(client::Api& api, std::string sandbox_id, std::string folder,
                                    std::vector<std::string> paths) {
  for (const std::string& path : paths) {
    v1::RemoveSandboxPathRequest request;
    request.set_sandbox_id(sandbox_id);
    request.set_path(folder + "/" + path);
    auto removed = co_await api.sandboxes.RemoveSandboxPath(std::move(request));
    if (!removed) co_return Err(std::move(removed).error());
  }
  co_return Result<void>();
}

// Every path that this or the earlier copy concerns, by whether there is such a local file.
CopiedIn Concerned(const workspace::CopyTarget& target, const workspace::ChangeSet& changes) {
  std::set<std::string> paths;
  for (const auto& file : target.baseline.manifest) paths.insert(file.path);
  for (const auto& file : changes.files) paths.insert(file.path);
  CopiedIn out;
  for (const std::string& path : paths) {
    std::error_code error;
    const auto status = std::filesystem::symlink_status(target.repository.top + "/" + path, error);
    const bool there =
        std::filesystem::is_regular_file(status) || std::filesystem::is_symlink(status);
    (there ? out.written : out.removed).push_back(path);
  }
  return out;
}

// --- Out of it ----------------------------------------------------------------------------------

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

Result<void> BindWorkTree(const v1::Sandbox& sandbox, const workspace::Repository& repository,
                          const std::vector<workspace::ChangedFile>& manifest) {
  const v1::RepositoryCheckout& checkout = sandbox.repository_checkout();
  CR_TRY_ASSIGN(const auto bindings, Bindings());
  CR_TRY_ASSIGN(const auto url, workspace::RemoteUrl::Parse(checkout.remote_url()));
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  bindings.RemoveOld(now);
  return bindings.Save({.sandbox_id = sandbox.sandbox_id(),
                        .local_root = repository.top,
                        .remote_identity = url.Identity(),
                        .object_format = repository.object_format,
                        .sandbox_root = checkout.destination_dir(),
                        .made = now,
                        .baseline = {.commit = checkout.commit_sha(), .manifest = manifest}});
}

Result<v1::RepositoryChangeset> ToMessage(const workspace::ChangeSet& changes) {
  if (changes.patch.size() > kMaxPatch) {
    return Err(Error(ErrorCode::kResourceExhausted,
                     fmt::format("the local changes make a patch of {} MiB, and {} MiB travel with "
                                 "a sandbox's creation",
                                 changes.patch.size() >> 20, kMaxPatch >> 20))
                   .Remedy("Create without --copy-in, then use: cleanroom workspace copy-in ID"));
  }
  v1::RepositoryChangeset message;
  message.set_format(std::string(workspace::kChangeSetFormat));
  message.set_base_commit_sha(changes.base_commit);
  message.set_digest(changes.digest);
  message.set_tree_digest(changes.tree);
  message.set_patch(changes.patch);
  for (const auto& file : changes.files) {
    v1::RepositoryChangesetFile& out = *message.add_files();
    out.set_path(file.path);
    out.set_sha256(file.sha256);
    out.set_deleted(file.deleted);
  }
  return message;
}

Awaitable<Result<CopiedIn>> CopyIn(client::Api& api, std::string sandbox_id, DryRun dry_run) {
  auto sandbox = co_await FindSandbox(api, sandbox_id);
  if (!sandbox) co_return Err(std::move(sandbox).error());
  if (!sandbox->active_execution_id().empty()) {
    co_return Err(
        Error(ErrorCode::kFailedPrecondition,
              fmt::format("sandbox_busy: execution {} runs in it", sandbox->active_execution_id()))
            .About(SubjectKind::kSandbox, sandbox_id));
  }
  CR_CO_TRY_ASSIGN(const auto target, TargetOf(*sandbox));
  if (target.repository.commit != sandbox->repository_checkout().commit_sha()) {
    co_return Err(
        Error(ErrorCode::kFailedPrecondition,
              fmt::format("the work tree is at commit {}, and the sandbox at {}",
                          target.repository.commit, sandbox->repository_checkout().commit_sha()))
            .Remedy("Make a new sandbox of this commit"));
  }
  CR_CO_TRY_ASSIGN(const auto changes, workspace::TakeLocalChanges(target.repository));
  CopiedIn copied = Concerned(target, changes);
  if (dry_run == DryRun::kYes) co_return copied;
  const std::string folder = sandbox->repository_checkout().destination_dir();
  auto removed = co_await RemoveFiles(api, sandbox_id, folder, copied.removed);
  if (!removed) co_return Err(std::move(removed).error());
  auto sent = co_await SendFiles(api, sandbox_id, target.repository.top, folder, copied.written);
  if (!sent) co_return Err(std::move(sent).error());
  CR_CO_TRY(BindWorkTree(*sandbox, target.repository, changes.files));
  co_return copied;
}

Awaitable<Result<CopiedOut>> CopyOut(client::Api& api, std::string sandbox_id,
                                     CopyOutOptions options) {
  auto sandbox = co_await FindSandbox(api, sandbox_id);
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
  if (options.dry_run == DryRun::kNo) {
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
