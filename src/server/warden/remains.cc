#include "server/warden/remains.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "os/file.h"
#include "server/plain_text.h"
#include "telemetry/log.h"
#include "warden_link/ending.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

constexpr size_t kMaxFile = 1U << 20;

}  // namespace

Result<std::string> ReadRemains(const Layout& layout, const SandboxId& id,
                                const std::string& name) {
  const std::string path = layout.Sandbox(id) + "/" + name;
  CR_TRY_ASSIGN(const os::UniqueFd file, os::Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  return os::ReadAll(file.get(), kMaxFile, path);
}

std::optional<internal::v1::WardenState> ReadWardenEnd(const Layout& layout, const SandboxId& id) {
  const auto bytes = ReadRemains(layout, id, "end");
  internal::v1::WardenState state;
  if (!bytes || !state.ParseFromString(*bytes)) return std::nullopt;
  return state;
}

std::optional<Error> WhyEnded(const internal::v1::WardenState& state) {
  const auto why = warden_link::WhyEnded(state);
  if (!why) return std::nullopt;
  return Error(why->code(), PlainText(why->message(), kLastWordsBytes));
}

std::optional<Error> WhyLost(const internal::v1::ExecutionEnd& end) {
  const auto why = warden_link::WhyLost(end);
  if (!why) return std::nullopt;
  return Error(why->code(), PlainText(why->message(), kCommandWordsBytes));
}

Awaitable<Result<void>> RemoveRemains(BlockingPool& pool, const Settings& settings,
                                      const Layout& layout, SandboxId id) {
  const std::string folder = layout.Sandbox(id);
  const auto groups = settings.cgroups;
  auto work = [folder, groups, id]() -> Result<void> {
    // First whoever may still write there.
    Result<void> emptied;
    if (groups) emptied = groups->Remove(id.text());
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    if (!error) return emptied;
    return Err(
        Error::FromErrno(ErrorCode::kInternal, error.value(), fmt::format("remove {}", folder)));
  };
  auto removed = co_await pool.Run(work);
  if (!removed) {
    Log(LogLevel::kError, "cannot remove what is left of a sandbox", Field("sandbox_id", id),
        Field("error", removed.error()));
  }
  co_return removed;
}

}  // namespace cleanroom::server
