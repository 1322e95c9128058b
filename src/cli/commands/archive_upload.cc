#include "cli/commands/archive_upload.h"

#include <optional>
#include <utility>

namespace cleanroom::cli {
namespace {

namespace v1 = ::cleanroom::v1;

struct Messages {
  v1::ExtractSandboxArchiveInit init;
  tree::Packer& packer;
  std::function<void()> told;
  bool begun = false;
  bool ended = false;

  Awaitable<Result<std::optional<v1::ExtractSandboxArchiveRequest>>> Next() {
    std::optional<v1::ExtractSandboxArchiveRequest> message(std::in_place);
    if (!std::exchange(begun, true)) {
      *message->mutable_init() = init;
      co_return message;
    }
    if (ended) co_return std::optional<v1::ExtractSandboxArchiveRequest>();
    CR_CO_TRY_ASSIGN(const bool more, packer.Fill(*message->mutable_data(), kUploadPiece));
    ended = !more;
    if (told) told();
    co_return message;
  }
};

}  // namespace

Awaitable<Result<void>> UploadArchive(client::Api& api, v1::ExtractSandboxArchiveInit init,
                                      tree::Packer& packer, std::function<void()> told) {
  Messages messages{.init = std::move(init), .packer = packer, .told = std::move(told)};
  auto stream = co_await api.sandboxes.ExtractSandboxArchive();
  if (!stream) co_return Err(std::move(stream).error());
  const rpc::InputSource<v1::ExtractSandboxArchiveRequest> next = [&messages] {
    return messages.Next();
  };
  auto sent = co_await rpc::SendAll(*std::move(stream), next, kUploadLimits);
  if (!sent) co_return Err(std::move(sent).error());
  co_return Result<void>();
}

}  // namespace cleanroom::cli
