#include "cli/commands/warm_up.h"

#include <optional>
#include <utility>

namespace cleanroom::cli {

Awaitable<Result<v1::Template>> WarmUp(client::Api& api, v1::WarmUpRequest request,
                                       Progress& progress) {
  auto stream = co_await api.system.WarmUp(std::move(request));
  if (!stream) co_return Err(std::move(stream).error());
  std::optional<v1::Template> ready;
  for (;;) {
    auto event = co_await stream->Next();
    if (!event) co_return Err(std::move(event).error());
    if (!event->has_value()) break;
    if ((*event)->has_progress()) progress.Update((*event)->progress());
    if ((*event)->has_ready()) ready = (*event)->ready();
  }
  if (!ready)
    co_return Err(ErrorCode::kUnavailable, "the daemon ended before the template was made");
  co_return std::move(*ready);
}

}  // namespace cleanroom::cli
