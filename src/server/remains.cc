#include "server/remains.h"

#include <fcntl.h>

#include <filesystem>
#include <system_error>

#include "os/file.h"

namespace cleanroom::server {

Result<std::string> ReadRemains(const Layout& layout, const std::string& id,
                                const std::string& name) {
  constexpr size_t kMax = 1U << 20;
  const std::string path = layout.Sandbox(id) + "/" + name;
  CR_TRY_ASSIGN(const os::UniqueFd file, os::Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  return os::ReadAll(file.get(), kMax, path);
}

std::string RemoveRemains(const Settings& settings, const Layout& layout, const std::string& id) {
  std::error_code error;
  std::filesystem::remove_all(layout.Sandbox(id), error);
  std::string trouble = error ? error.message() : std::string();
  if (settings.cgroups) {
    const auto removed = settings.cgroups->Remove(id);
    if (!removed) trouble += (trouble.empty() ? "" : "; ") + removed.error().message();
  }
  return trouble;
}

}  // namespace cleanroom::server
