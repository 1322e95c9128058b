#include "server/sandbox_folder.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "os/file.h"

namespace cleanroom::server {
namespace {

constexpr size_t kMaxEndFile = 1U << 20;

}  // namespace

std::optional<internal::v1::WardenState> ReadWardenEnd(const Layout& layout,
                                                       const std::string& id) {
  const auto bytes = os::ReadFile(layout.Sandbox(id) + "/end", kMaxEndFile);
  internal::v1::WardenState state;
  if (!bytes || !state.ParseFromString(*bytes)) return std::nullopt;
  return state;
}

Awaitable<Result<void>> RemoveSandboxFolder(BlockingPool& pool, const Layout& layout,
                                            std::string id) {
  const std::string folder = layout.Sandbox(id);
  auto work = [folder] {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    return error;
  };
  const std::error_code error = co_await pool.Run(work);
  if (!error) co_return Result<void>();
  spdlog::error("cannot remove a sandbox's folder sandbox_id={} folder={} error=\"{}\"", id, folder,
                error.message());
  co_return Err(
      Error::FromErrno(ErrorCode::kInternal, error.value(), fmt::format("remove {}", folder)));
}

}  // namespace cleanroom::server
