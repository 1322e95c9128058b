#include "cli/commands/sandbox_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "archive/byte_source.h"
#include "os/file.h"
#include "os/scratch.h"
#include "workspace/git.h"
#include "workspace/kept_back.h"
#include "workspace/tree_path.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;

constexpr size_t kMaxArchivePaths = 1000;  // of one call
constexpr size_t kArchiveEnd = 1024;       // two blocks of zeros
// Of what is told, ignored files among it: as many as a work tree may have.
constexpr size_t kMaxTold = 1'000'000;
constexpr size_t kMaxToldBytes = size_t{256} << 20;

struct SandboxChanges {
  std::vector<std::string> written;  // files and links
  std::vector<std::string> gone;     // each with all that was below it
  std::vector<std::string> odd;      // what git has no name for: pipes, devices
};

std::unexpected<Error> TooMuch(const v1::Sandbox& sandbox, std::string what) {
  return Err(Error(ErrorCode::kResourceExhausted, std::move(what))
                 .About(SubjectKind::kSandbox, sandbox.sandbox_id())
                 .Remedy("Remove what is not needed there, name it in .gitignore here, or fetch a "
                         "folder with: cleanroom cp"));
}

Awaitable<Result<SandboxChanges>> ListChanges(client::Api& api, v1::Sandbox sandbox) {
  v1::WalkSandboxTreeRequest request;
  request.set_sandbox_id(sandbox.sandbox_id());
  request.set_path(sandbox.repository_checkout().destination_dir());
  request.set_changes(true);
  const size_t prefix = request.path().size() + 1;
  auto stream = co_await api.sandboxes.WalkSandboxTree(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  SandboxChanges out;
  size_t count = 0, bytes = 0;
  for (;;) {
    auto next = co_await stream->Next();
    if (!next) co_return Err(std::move(next).error());
    if (!*next) break;
    const v1::SandboxPathInfo& info = (*next)->info();
    // A name that is not UTF-8 is in raw_path.
    const std::string& path = info.raw_path().empty() ? info.path() : info.raw_path();
    if (path.size() <= prefix) continue;
    bytes += path.size();
    if (++count > kMaxTold || bytes > kMaxToldBytes) {
      co_return TooMuch(sandbox, fmt::format("the sandbox has changed more than {} paths, or their "
                                             "names have more than {} bytes",
                                             kMaxTold, kMaxToldBytes));
    }
    switch (info.type()) {
      case v1::SANDBOX_PATH_TYPE_GONE:
        out.gone.push_back(path.substr(prefix));
        break;
      case v1::SANDBOX_PATH_TYPE_FILE:
      case v1::SANDBOX_PATH_TYPE_SYMLINK:
        out.written.push_back(path.substr(prefix));
        break;
      case v1::SANDBOX_PATH_TYPE_DIRECTORY:
        break;
      default:
        out.odd.push_back(path.substr(prefix));
    }
  }
  std::ranges::sort(out.written);
  out.written.erase(std::ranges::unique(out.written).begin(), out.written.end());
  co_return out;
}

// What the sandbox began with, sorted.
struct FirstFiles {
  std::vector<std::string> all;
  std::vector<std::string> copied_in;  // those that its commit does not have
};

Result<FirstFiles> FilesOf(const workspace::Repository& repository,
                           const workspace::Baseline& baseline) {
  FirstFiles files;
  CR_TRY_ASSIGN(files.all,
                repository.git->ReadNames({"ls-tree", "-r", "-z", "--name-only", "--full-tree",
                                           "--end-of-options", baseline.commit}));
  std::ranges::sort(files.all);
  const size_t committed = files.all.size();
  for (const auto& file : baseline.manifest) {
    const std::span<const std::string> commit(files.all.data(), committed);
    if (std::ranges::binary_search(commit, file.path)) continue;
    if (!file.deleted) files.copied_in.push_back(file.path);
    files.all.push_back(file.path);
  }
  std::ranges::sort(files.copied_in);
  std::ranges::sort(files.all);
  files.all.erase(std::ranges::unique(files.all).begin(), files.all.end());
  return files;
}

// Which of the first files are no more.
std::vector<std::string> Deleted(const FirstFiles& files, const SandboxChanges& changes) {
  std::vector<std::string> out;
  // Below a file that was copied in is no layer that could have it, so nothing tells that it has
  // gone: it is not among what the sandbox has.
  std::ranges::set_difference(files.copied_in, changes.written, std::back_inserter(out));
  if (changes.gone.empty()) return out;
  const std::set<std::string, std::less<>> gone(changes.gone.begin(), changes.gone.end());
  for (const std::string& file : files.all) {
    if (std::ranges::binary_search(files.copied_in, file)) continue;
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
Result<void> DropIgnored(const workspace::Repository& repository,
                         const std::vector<std::string>& files, SandboxChanges& changes) {
  std::vector<std::string> fresh;
  for (const std::string& path : changes.written) {
    // What may not be in a work tree is refused later, by name.
    if (!std::ranges::binary_search(files, path) && !workspace::WhyNotInTree(path))
      fresh.push_back(path);
  }
  // Where git cannot say, as of what is in a submodule, all is fetched, and judged then.
  const auto ignored = workspace::Ignored(repository, fresh);
  if (!ignored) return {};
  std::erase_if(changes.written, [&](const std::string& path) { return ignored->contains(path); });
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

}  // namespace

Awaitable<Result<FetchedChanges>> FetchChanges(client::Api& api, v1::Sandbox sandbox,
                                               workspace::Repository repository,
                                               workspace::Baseline baseline) {
  CR_CO_TRY(workspace::CheckHasCommit(repository, baseline.commit));
  auto changes = co_await ListChanges(api, sandbox);
  if (!changes) co_return Err(std::move(changes).error());
  CR_CO_TRY_ASSIGN(const auto files, FilesOf(repository, baseline));
  std::vector<std::string> deleted = Deleted(files, *changes);
  CR_CO_TRY(DropIgnored(repository, files.all, *changes));
  const size_t most = workspace::IncomingLimits().max_entries;
  if (changes->written.size() + deleted.size() > most) {
    co_return TooMuch(
        sandbox, fmt::format("{} files have changed in the sandbox that git does not ignore: more "
                             "than {} are not fetched",
                             changes->written.size() + deleted.size(), most));
  }
  auto tar = co_await FetchAll(api, sandbox, changes->written);
  if (!tar) co_return Err(std::move(tar).error());
  CR_CO_TRY_ASSIGN(const uint64_t size, os::FileSize(tar->get()));
  archive::FileSource source(tar->get(), 0, size);
  CR_CO_TRY_ASSIGN(auto incoming,
                   workspace::ReadIncoming(source, std::move(deleted), repository.object_format));
  for (std::string& path : changes->odd)
    incoming.refused.push_back({std::move(path), "it is no file"});
  FetchedChanges out;
  out.tar = *std::move(tar);
  out.incoming = std::move(incoming);
  co_return out;
}

}  // namespace cleanroom::cli
