#include "guest/serve/file_calls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "guest/files/changes.h"
#include "tree/names.h"
#include "tree/packer.h"
#include "tree/remover.h"
#include "tree/unpacker.h"
#include "tree/walk.h"

namespace cleanroom::guest {
namespace {

using namespace internal::v1;  // NOLINT(google-build-using-namespace): one proto, one service

// Of a walk in one message.
constexpr int kInfosPerMessage = 256;
constexpr size_t kInfoBytes = 64 << 10;

int64_t LimitOf(int64_t max_bytes) {
  return max_bytes > 0 ? max_bytes : std::numeric_limits<int64_t>::max();
}

Result<void> CheckPath(const std::string& path) {
  if (!path.empty() && path.size() <= tree::kMaxPathBytes && !path.contains('\0')) return {};
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("a path has 1 to {} bytes and no NUL", tree::kMaxPathBytes));
}

PathInfo ToInfo(std::string path, const struct stat& info) {
  PathInfo message;
  message.set_path(std::move(path));
  message.set_mode(info.st_mode & 07777);
  message.mutable_mtime()->set_seconds(info.st_mtim.tv_sec);
  message.mutable_mtime()->set_nanos(static_cast<int32_t>(info.st_mtim.tv_nsec));
  if (S_ISREG(info.st_mode)) {
    message.set_type(PathInfo::TYPE_FILE);
    message.set_size(info.st_size);
  } else if (S_ISDIR(info.st_mode)) {
    message.set_type(PathInfo::TYPE_DIRECTORY);
  } else {
    message.set_type(S_ISLNK(info.st_mode) ? PathInfo::TYPE_SYMLINK : PathInfo::TYPE_OTHER);
  }
  return message;
}

// Empty when it is no link any more.
std::string LinkTarget(int folder_fd, const std::string& name) {
  std::string target(tree::kMaxPathBytes, '\0');
  const ssize_t n = readlinkat(folder_fd, name.c_str(), target.data(), target.size());
  target.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  return target;
}

// Infos on their way to the host, several in a message.
class InfoBatch {
 public:
  explicit InfoBatch(rpc::Writer<PathInfos>& out) : out_(out) {}
  // True when it is time to send.
  bool Add(PathInfo info) {
    bytes_ += info.path().size() + info.symlink_target().size();
    *message_.add_infos() = std::move(info);
    return message_.infos_size() >= kInfosPerMessage || bytes_ >= kInfoBytes;
  }
  Awaitable<Result<void>> Send() {
    if (message_.infos_size() == 0) co_return Result<void>();
    auto written = co_await out_.Write(message_);
    message_.clear_infos();
    bytes_ = 0;
    co_return written;
  }

 private:
  rpc::Writer<PathInfos>& out_;
  PathInfos message_;
  size_t bytes_ = 0;
};

std::string WithoutSlashes(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  return path;
}

Result<tree::Packer::Start> OpenStart(const Root& root, const std::string& base,
                                      const std::string& path) {
  CR_TRY_ASSIGN(const auto names, tree::SplitRelative(path));
  tree::Packer::Start start;
  for (const std::string_view name : names) {
    if (!start.path.empty()) start.path += '/';
    start.path += name;
  }
  CR_TRY_ASSIGN(Root::Place place, root.Locate(fmt::format("{}/{}", base, start.path)));
  if (start.path.empty()) {
    CR_TRY_ASSIGN(place.folder, root.OpenFolder(base));
    place.name = ".";
  }
  start.folder = std::move(place.folder);
  start.name = std::move(place.name);
  return start;
}

}  // namespace

Awaitable<Result<void>> FileCalls::Read(ReadFileRequest request,
                                        rpc::Writer<FileChunk>& out) const {
  CR_CO_TRY(CheckPath(request.path()));
  CR_CO_TRY_ASSIGN(const os::UniqueFd file, root_->OpenFile(request.path()));
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) co_return ErrErrno(ErrorCode::kInternal, "fstat");
  const int64_t limit = LimitOf(request.max_bytes());
  if (info.st_size > limit) {
    co_return tree::PathError(ErrorCode::kResourceExhausted, request.path(),
                              fmt::format("has {} bytes, more than {}", info.st_size, limit));
  }
  FileChunk chunk;
  chunk.set_size(info.st_size);
  // What is there now, and no more: the file may be growing.
  int64_t left = info.st_size;
  do {
    std::string& data = *chunk.mutable_data();
    data.resize(static_cast<size_t>(std::min<int64_t>(left, kFileChunkBytes)));
    const ssize_t n = read(file.get(), data.data(), data.size());
    if (n < 0) co_return tree::PathError("read", request.path());
    if (static_cast<size_t>(n) < data.size()) {
      left = n;  // it was cut short meanwhile: this is its end
      data.resize(static_cast<size_t>(n));
    }
    left -= n;
    auto written = co_await out.Write(chunk);
    if (!written) co_return written;
    chunk.clear_size();
  } while (left > 0);
  co_return Result<void>();
}

Result<PathInfo> FileCalls::Stat(const StatPathRequest& request) const {
  CR_TRY(CheckPath(request.path()));
  const auto links = request.follow() ? Root::Links::kFollow : Root::Links::kKeep;
  CR_TRY_ASSIGN(const struct stat info, root_->Stat(request.path(), links));
  PathInfo message = ToInfo(request.path(), info);
  if (!S_ISLNK(info.st_mode)) return message;
  CR_TRY_ASSIGN(const Root::Place place, root_->Locate(request.path()));
  message.set_symlink_target(LinkTarget(place.folder.get(), place.name));
  return message;
}

Awaitable<Result<void>> FileCalls::Walk(WalkTreeRequest request,
                                        rpc::Writer<PathInfos>& out) const {
  CR_CO_TRY(CheckPath(request.path()));
  CR_CO_TRY_ASSIGN(const Root::Place place, root_->Locate(request.path()));
  const std::string top = WithoutSlashes(request.path());
  tree::Walk walk(place.folder.get(), place.name, tree::Mounts::kData);
  InfoBatch batch(out);
  for (;;) {
    CR_CO_TRY_ASSIGN(const tree::Walk::Found* found, walk.Next());
    if (found == nullptr) break;
    std::string path = found->path.empty() && !top.empty() ? top : top + "/" + found->path;
    PathInfo info = ToInfo(std::move(path), found->info);
    if (info.type() == PathInfo::TYPE_SYMLINK) {
      info.set_symlink_target(LinkTarget(found->folder_fd, found->name));
    }
    if (!batch.Add(std::move(info))) continue;
    auto written = co_await batch.Send();
    if (!written) co_return written;
  }
  auto last = co_await batch.Send();
  co_return last;
}

Awaitable<Result<void>> FileCalls::WalkChanges(std::string folder, std::string upper,
                                               rpc::Writer<PathInfos>& out) const {
  CR_CO_TRY_ASSIGN(Changes changes, Changes::Open(upper, *root_, folder));
  InfoBatch batch(out);
  for (;;) {
    CR_CO_TRY_ASSIGN(const std::optional<Change> change, changes.Next());
    if (!change) break;
    PathInfo info = ToInfo(folder + "/" + change->path, change->info);
    if (change->gone) info.set_type(PathInfo::TYPE_GONE);
    info.set_symlink_target(change->target);
    if (!batch.Add(std::move(info))) continue;
    auto written = co_await batch.Send();
    if (!written) co_return written;
  }
  auto last = co_await batch.Send();
  co_return last;
}

Awaitable<Result<WriteFileResult>> FileCalls::Write(rpc::Reader<WriteFileInput>& in) const {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first || !(*first)->has_init()) {
    co_return Err(ErrorCode::kInvalidArgument, "a file to write begins with init");
  }
  const WriteFileInit init = (*first)->init();
  CR_CO_TRY(CheckPath(init.path()));
  CR_CO_TRY_ASSIGN(Root::Place place, root_->LocateForWriting(init.path(), owner_));
  CR_CO_TRY_ASSIGN(auto writer, tree::FileWriter::Begin(std::move(place.folder), place.name, owner_,
                                                        init.path()));
  for (;;) {
    auto next = co_await in.Next();
    if (!next) co_return Err(std::move(next).error());
    if (!*next) break;
    if (!(*next)->has_data()) {
      co_return Err(ErrorCode::kInvalidArgument, "after init a file to write has only data");
    }
    CR_CO_TRY(writer.Write((*next)->data()));
  }
  tree::FileMetadata metadata{.permissions = init.mode()};
  if (init.has_mtime()) {
    metadata.mtime = timespec{.tv_sec = init.mtime().seconds(), .tv_nsec = init.mtime().nanos()};
  }
  CR_CO_TRY(writer.Commit(metadata));
  WriteFileResult result;
  result.set_size(writer.size());
  co_return result;
}

Awaitable<Result<RemovePathResult>> FileCalls::Remove(RemovePathRequest request) const {
  CR_CO_TRY(CheckPath(request.path()));
  RemovePathResult result;
  auto place = root_->Locate(request.path());
  if (!place && place.error().code() == ErrorCode::kNotFound) co_return result;
  if (!place) co_return Err(std::move(place).error());
  if (place->name == ".") {
    co_return tree::PathError(ErrorCode::kInvalidArgument, request.path(), "cannot be removed");
  }
  struct stat info = {};
  if (fstat(place->folder.get(), &info) != 0) co_return ErrErrno(ErrorCode::kInternal, "fstat");
  tree::DataMounts mounts(tree::Mounts::kData);
  if (!mounts.Allow(place->folder.get(), info.st_dev)) {
    co_return tree::PathError(ErrorCode::kInvalidArgument, request.path(),
                              "is on a virtual file system");
  }
  tree::Remover remover(std::move(place->folder), place->name, WithoutSlashes(request.path()));
  for (bool more = true; more;) {
    auto step = remover.Step(request.recursive());
    if (!step && step.error().code() == ErrorCode::kNotFound) co_return result;
    if (!step) co_return Err(std::move(step).error());
    more = *step;
    co_await asio::post(asio::use_awaitable);
    const bool cancelled = co_await Cancelled();
    if (cancelled) co_return Err(ErrorCode::kCanceled, "cancelled while files were removed");
  }
  result.set_removed(true);
  co_return result;
}

Awaitable<Result<void>> FileCalls::Archive(ArchivePathsRequest request,
                                           rpc::Writer<ArchiveChunk>& out) const {
  CR_CO_TRY(CheckPath(request.base()));
  const std::string base = WithoutSlashes(request.base());
  const auto open = [this, &base](const std::string& path) {
    return OpenStart(*root_, base, path);
  };
  tree::Packer packer({request.paths().begin(), request.paths().end()}, open, tree::Mounts::kData);
  int64_t left = LimitOf(request.max_bytes());
  ArchiveChunk chunk;
  for (bool more = true; more;) {
    chunk.mutable_data()->clear();
    // Also at a file that changed is what came before it to be sent.
    auto filled = packer.Fill(*chunk.mutable_data(), kFileChunkBytes);
    more = filled && *filled;
    left -= static_cast<int64_t>(chunk.data().size());
    if (left < 0) {
      co_return Err(ErrorCode::kResourceExhausted,
                    fmt::format("the archive has more than {} bytes", request.max_bytes()));
    }
    if (!chunk.data().empty()) {
      auto written = co_await out.Write(chunk);
      if (!written) co_return written;
    }
    if (!filled) co_return Err(std::move(filled).error());
  }
  co_return Result<void>();
}

Awaitable<Result<ExtractArchiveResult>> FileCalls::Extract(
    rpc::Reader<ExtractArchiveInput>& in) const {
  auto first = co_await in.Next();
  if (!first) co_return Err(std::move(first).error());
  if (!*first || !(*first)->has_init()) {
    co_return Err(ErrorCode::kInvalidArgument, "an archive to extract begins with init");
  }
  const std::string destination = (*first)->init().destination();
  CR_CO_TRY(CheckPath(destination));
  CR_CO_TRY_ASSIGN(const os::UniqueFd place, root_->MakeDirs(destination, owner_));
  os::UniqueFd folder(openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) co_return tree::PathError("open", destination);
  tree::DataMounts mounts(tree::Mounts::kData);
  struct stat info = {};
  if (fstat(folder.get(), &info) != 0 || !mounts.Allow(folder.get(), info.st_dev)) {
    co_return tree::PathError(ErrorCode::kInvalidArgument, destination,
                              "is on a virtual file system");
  }
  tree::Unpacker unpacker(std::move(folder), {.owner = owner_, .mounts = tree::Mounts::kData});
  ExtractArchiveResult result;
  for (;;) {
    auto next = co_await in.Next();
    if (!next) co_return Err(std::move(next).error());
    if (!*next) break;
    if (!(*next)->has_data()) {
      co_return Err(ErrorCode::kInvalidArgument, "after init an archive has only data");
    }
    CR_CO_TRY(unpacker.Feed((*next)->data()));
    result.set_size(result.size() + static_cast<int64_t>((*next)->data().size()));
  }
  CR_CO_TRY(unpacker.Finish());
  result.set_entries(unpacker.entries());
  co_return result;
}

}  // namespace cleanroom::guest
