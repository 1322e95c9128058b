#include "cli/commands/workspace_copy_in.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <utility>

#include "cli/commands/archive_upload.h"
#include "cli/commands/bound_work_tree.h"
#include "os/file.h"
#include "tree/names.h"
#include "tree/packer.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;

// A file of the work tree; no folder on the way to it may be a link.
Result<tree::Packer::Start> OpenLocal(const std::string& top, const std::string& path) {
  CR_TRY_ASSIGN(const auto names, tree::SplitRelative(path));
  tree::Packer::Start start;
  start.name = names.back();
  start.path = path;
  CR_TRY_ASSIGN(start.folder, os::OpenDir(top));
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    const std::string name(names[i]);
    CR_TRY_ASSIGN(start.folder, os::OpenAt(start.folder.get(), name, O_RDONLY | O_DIRECTORY));
  }
  return start;
}

Awaitable<Result<void>> SendFiles(client::Api& api, std::string sandbox_id, std::string top,
                                  std::string destination, std::vector<std::string> paths) {
  if (paths.empty()) co_return Result<void>();
  const auto open = [top](const std::string& path) { return OpenLocal(top, path); };
  tree::Packer packer(std::move(paths), open, tree::Mounts::kAll);
  v1::ExtractSandboxArchiveInit init;
  init.set_sandbox_id(std::move(sandbox_id));
  init.set_destination(std::move(destination));
  auto sent = co_await UploadArchive(api, std::move(init), packer, nullptr);
  co_return sent;
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

}  // namespace

Awaitable<Result<CopiedIn>> CopyIn(client::Api& api, std::string sandbox_id,
                                   CopyInOptions options) {
  auto sandbox = co_await FindWithRepository(api, sandbox_id);
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
  CR_CO_TRY_ASSIGN(const auto changes, workspace::ListLocalChanges(target.repository));
  CopiedIn copied = Concerned(target, changes);
  if (options.dry_run) co_return copied;
  const std::string folder = sandbox->repository_checkout().destination_dir();
  auto removed = co_await RemoveFiles(api, sandbox_id, folder, copied.removed);
  if (!removed) co_return Err(std::move(removed).error());
  auto sent = co_await SendFiles(api, sandbox_id, target.repository.top, folder, copied.written);
  if (!sent) co_return Err(std::move(sent).error());
  CR_CO_TRY(BindWorkTree(*sandbox, target.repository, changes.files));
  co_return copied;
}

}  // namespace cleanroom::cli
