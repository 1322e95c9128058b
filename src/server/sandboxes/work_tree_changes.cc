#include "server/sandboxes/work_tree_changes.h"

#include <chrono>
#include <optional>
#include <utility>

#include "cleanroom/internal/v1/warden.rpc.h"
#include "os/scratch.h"
#include "rpc/relay.h"

namespace cleanroom::server {
namespace {

namespace pb = ::cleanroom::internal::v1;

constexpr size_t kPiece = 256 << 10;
constexpr rpc::SendLimits kLimits{.write = std::chrono::minutes(5),
                                  .answer = std::chrono::minutes(60)};

// What goes to the warden: the opening, then the archive.
struct ArchivePieces {
  std::string folder;
  os::UniqueFd tar;
  uint64_t offset = 0;
  bool begun = false;

  Awaitable<Result<std::optional<pb::ExtractArchiveInput>>> Next() {
    std::optional<pb::ExtractArchiveInput> input(std::in_place);
    if (!std::exchange(begun, true)) {
      input->mutable_init()->set_destination(folder);
      co_return input;
    }
    std::string data(kPiece, '\0');
    const std::span<uint8_t> room(reinterpret_cast<uint8_t*>(data.data()), data.size());
    CR_CO_TRY_ASSIGN(const size_t n, os::PreadSome(tar.get(), room, offset));
    if (n == 0) co_return std::optional<pb::ExtractArchiveInput>();
    data.resize(n);
    offset += n;
    input->set_data(std::move(data));
    co_return input;
  }
};

}  // namespace

Awaitable<Result<void>> WriteChanges(std::shared_ptr<rpc::Channel> warden, std::string folder,
                                     ChangedFiles files) {
  const pb::WardenStub stub(*warden);
  for (const std::string& path : files.removed) {
    pb::RemovePathRequest request;
    request.set_path(folder + "/" + path);
    auto removed = co_await stub.RemovePath(std::move(request));
    if (!removed) co_return Err(std::move(removed).error());
  }
  if (!files.tar) co_return Result<void>();
  auto stream = co_await stub.ExtractArchive();
  if (!stream) co_return Err(std::move(stream).error());
  ArchivePieces pieces{.folder = std::move(folder), .tar = std::move(files.tar)};
  const rpc::InputSource<pb::ExtractArchiveInput> next = [&pieces] { return pieces.Next(); };
  auto extracted = co_await rpc::SendAll(*std::move(stream), next, kLimits);
  if (!extracted) co_return Err(std::move(extracted).error());
  co_return Result<void>();
}

}  // namespace cleanroom::server
