#include "cli/commands/copy_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "cli/commands/archive_upload.h"
#include "cli/session/errors.h"
#include "os/file.h"
#include "rpc/relay.h"
#include "tree/file_writer.h"
#include "tree/names.h"
#include "tree/packer.h"
#include "tree/unpacker.h"

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;

constexpr int64_t kNoLimit = int64_t{1} << 40;  // as much as the daemon sends
constexpr mode_t kPermissions = 0777;

void Tell(Progress& progress, const std::string& path, int64_t done, int64_t total) {
  v1::Progress now;
  now.set_phase("copy");
  now.set_message(path);
  now.set_done(done);
  now.set_total(total);
  progress.Update(now);
}

// Nothing: there is no such path.
Awaitable<Result<std::optional<v1::SandboxPathInfo>>> Look(client::Api& api, CopyPlace place) {
  v1::StatSandboxPathRequest request;
  request.set_sandbox_id(place.sandbox_id);
  request.set_path(place.path);
  request.set_follow(true);
  auto answer = co_await api.sandboxes.StatSandboxPath(std::move(request));
  if (answer) co_return std::move(*answer->mutable_info());
  // Not the sandbox itself.
  const bool file = answer.error().subject().kind == SubjectKind::kFile;
  if (file && answer.error().code() == ErrorCode::kNotFound) {
    co_return std::optional<v1::SandboxPathInfo>();
  }
  co_return Err(std::move(answer).error());
}

Error Missing(const std::string& path) {
  return Error(ErrorCode::kNotFound, fmt::format("there is no {}", path))
      .About(SubjectKind::kFile, path);
}

Error NoCopy(const std::string& path) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{} is a device, a FIFO or a socket, which are not copied", path))
      .About(SubjectKind::kFile, path);
}

// Its own name, also where "." or ".." was written.
std::string LocalName(const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  const std::string typed = LastName(path);
  return typed.empty() && !error ? real.filename().string() : typed;
}

std::string Joined(const std::string& folder, const std::string& name) {
  return folder.ends_with('/') ? folder + name : folder + "/" + name;
}

// A local file, as the messages that carry it.
struct FileSource {
  v1::WriteSandboxFileInit init;
  os::UniqueFd file;
  std::string shown;
  int64_t total;
  Progress& progress;
  bool begun = false;
  int64_t done = 0;

  Awaitable<Result<std::optional<v1::WriteSandboxFileRequest>>> Next() {
    std::optional<v1::WriteSandboxFileRequest> message(std::in_place);
    if (!std::exchange(begun, true)) {
      *message->mutable_init() = init;
      co_return message;
    }
    std::string& data = *message->mutable_data();
    data.resize(kUploadPiece);
    const ssize_t n = read(file.get(), data.data(), data.size());
    if (n < 0) co_return tree::PathError("read", shown);
    if (n == 0) co_return std::optional<v1::WriteSandboxFileRequest>();
    data.resize(static_cast<size_t>(n));
    done += n;
    Tell(progress, shown, done, total);
    co_return message;
  }
};

Awaitable<Result<CopySummary>> SendFile(client::Api& api, CopyPlaces places, std::string path,
                                        Progress& progress) {
  CR_CO_TRY_ASSIGN(os::UniqueFd file, os::Open(places.from.path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info = {};
  if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    co_return Err(NoCopy(places.from.path));
  }
  v1::WriteSandboxFileInit init;
  init.set_sandbox_id(places.to.sandbox_id);
  init.set_raw_path(std::move(path));
  // 0 would mean the usual one; no mode at all is not kept.
  init.set_mode(info.st_mode & 07777);
  init.mutable_mtime()->set_seconds(info.st_mtim.tv_sec);
  init.mutable_mtime()->set_nanos(static_cast<int32_t>(info.st_mtim.tv_nsec));
  FileSource source{std::move(init), std::move(file), places.from.path, info.st_size, progress};
  auto stream = co_await api.sandboxes.WriteSandboxFile();
  if (!stream) co_return Err(std::move(stream).error());
  const rpc::InputSource<v1::WriteSandboxFileRequest> next = [&source] { return source.Next(); };
  auto written = co_await rpc::SendAll(std::move(*stream), next, kUploadLimits);
  if (!written) co_return Err(std::move(written).error());
  co_return CopySummary{.files = 1, .bytes = source.done};
}

Awaitable<Result<CopySummary>> SendFolder(client::Api& api, CopyPlaces places, std::string path,
                                          Progress& progress) {
  const auto open = [&places](const std::string& name) -> Result<tree::Packer::Start> {
    CR_TRY_ASSIGN(os::UniqueFd folder, os::OpenDir(places.from.path));
    return tree::Packer::Start{.folder = std::move(folder), .name = name, .path = ""};
  };
  v1::ExtractSandboxArchiveInit init;
  init.set_sandbox_id(places.to.sandbox_id);
  init.set_raw_destination(std::move(path));
  tree::Packer packer({"."}, open, tree::Mounts::kAll);
  const auto told = [&] { Tell(progress, places.from.path, packer.content_bytes(), 0); };
  auto sent = co_await UploadArchive(api, std::move(init), packer, told);
  if (!sent) co_return Err(std::move(sent).error());
  co_return CopySummary{.files = packer.files(), .bytes = packer.content_bytes()};
}

Awaitable<Result<CopySummary>> TakeFile(client::Api& api, CopyPlaces places,
                                        v1::SandboxPathInfo info, Progress& progress) {
  const std::string& from = places.from.path;
  CR_CO_TRY_ASSIGN(LocalTarget target, FindLocalFile(places.to.path, LastName(from)));
  v1::ReadSandboxFileRequest request;
  request.set_sandbox_id(places.from.sandbox_id);
  request.set_raw_path(from);
  request.set_max_bytes(kNoLimit);
  auto stream = co_await api.sandboxes.ReadSandboxFile(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  CR_CO_TRY_ASSIGN(auto writer, tree::FileWriter::Begin(std::move(target.folder), target.name, {},
                                                        places.to.path));
  for (;;) {
    auto part = co_await stream->Next();
    if (!part) co_return Err(std::move(part).error());
    if (!*part) break;
    CR_CO_TRY(writer.Write((*part)->data()));
    Tell(progress, from, writer.size(), info.size_bytes());
  }
  tree::FileMetadata metadata{.permissions = info.mode() & kPermissions};
  if (info.has_mtime()) {
    metadata.mtime = timespec{.tv_sec = info.mtime().seconds(), .tv_nsec = info.mtime().nanos()};
  }
  CR_CO_TRY(writer.Commit(metadata));
  co_return CopySummary{.files = 1, .bytes = writer.size()};
}

Awaitable<Result<CopySummary>> TakeFolder(client::Api& api, CopyPlaces places, Progress& progress) {
  const std::string& from = places.from.path;
  CR_CO_TRY_ASSIGN(os::UniqueFd folder, MakeLocalFolder(places.to.path, LastName(from)));
  v1::ArchiveSandboxPathsRequest request;
  request.set_sandbox_id(places.from.sandbox_id);
  request.set_raw_base(from);
  request.add_paths(".");
  request.set_max_bytes(kNoLimit);
  auto stream = co_await api.sandboxes.ArchiveSandboxPaths(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  tree::Unpacker unpacker(std::move(folder), {.permissions = kPermissions});
  for (;;) {
    auto part = co_await stream->Next();
    if (!part) co_return Err(std::move(part).error());
    if (!*part) break;
    CR_CO_TRY(unpacker.Feed((*part)->data()));
    Tell(progress, from, unpacker.content_bytes(), 0);
  }
  CR_CO_TRY(unpacker.Finish());
  co_return CopySummary{.files = unpacker.files(), .bytes = unpacker.content_bytes()};
}

}  // namespace

Awaitable<Result<CopySummary>> CopyIntoSandbox(client::Api& api, CopyPlaces places,
                                               Progress& progress) {
  auto there = co_await Look(api, places.to);
  if (!there) co_return Err(std::move(there).error());
  struct stat info = {};
  if (stat(places.from.path.c_str(), &info) != 0) {
    co_return tree::PathError("copy", places.from.path);
  }
  const bool folder = S_ISDIR(info.st_mode);
  if (!folder && !S_ISREG(info.st_mode)) co_return Err(NoCopy(places.from.path));
  std::string path = places.to.path;
  const bool exists = *there && (*there)->type() == v1::SANDBOX_PATH_TYPE_DIRECTORY;
  // A new folder gets the name that was written; a file goes into the folder that a slash tells of.
  if (exists || (path.ends_with('/') && !folder)) {
    const std::string name = LocalName(places.from.path);
    if (!tree::IsName(name)) {
      co_return Err(
          UsageError(fmt::format("{} has no name; give the destination one", places.from.path),
                     "cleanroom cp"));
    }
    path = Joined(path, name);
  }
  if (folder) {
    auto sent = co_await SendFolder(api, std::move(places), std::move(path), progress);
    co_return sent;
  }
  auto sent = co_await SendFile(api, std::move(places), std::move(path), progress);
  co_return sent;
}

Awaitable<Result<CopySummary>> CopyFromSandbox(client::Api& api, CopyPlaces places,
                                               Progress& progress) {
  auto found = co_await Look(api, places.from);
  if (!found) co_return Err(std::move(found).error());
  if (!*found) co_return Err(Missing(places.from.Text()));
  if ((*found)->type() == v1::SANDBOX_PATH_TYPE_DIRECTORY) {
    auto taken = co_await TakeFolder(api, std::move(places), progress);
    co_return taken;
  }
  if ((*found)->type() != v1::SANDBOX_PATH_TYPE_FILE) co_return Err(NoCopy(places.from.Text()));
  auto taken = co_await TakeFile(api, std::move(places), std::move(**found), progress);
  co_return taken;
}

}  // namespace cleanroom::cli
