#include "config/paths.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace cleanroom::config {

Environment Environment::OfProcess() {
  return {[](std::string_view name) -> std::optional<std::string> {
            const char* value = std::getenv(std::string(name).c_str());
            if (value == nullptr) return std::nullopt;
            return value;
          },
          geteuid()};
}

Result<Paths> ResolvePaths(const Environment& environment) {
  const bool root = environment.uid == 0;
  // Relative paths do not count: the XDG specification says so.
  const auto absolute = [&environment](std::string_view name) -> std::string {
    const std::optional<std::string> value = environment.get(name);
    return value && value->starts_with('/') ? *value : "";
  };
  const std::string home = absolute("HOME");
  std::string missing;
  // The folder of ours below an XDG variable, root's place, or a place below HOME.
  const auto place = [&](std::string_view variable, std::string_view roots,
                         std::string_view below_home) {
    const std::string xdg = absolute(variable);
    if (!xdg.empty()) return xdg + "/cleanroom";
    if (root && !roots.empty()) return std::string(roots);
    if (!home.empty()) return fmt::format("{}/{}/cleanroom", home == "/" ? "" : home, below_home);
    if (missing.empty()) missing = variable;
    return std::string();
  };

  Paths paths;
  const std::string config =
      place("XDG_CONFIG_HOME", home.empty() ? "/etc/cleanroom" : "", ".config");
  paths.config_file = config + "/config.yaml";
  paths.tls_dir = config + "/tls";
  paths.cache_dir = place("XDG_CACHE_HOME", "/var/cache/cleanroom", ".cache");
  paths.state_dir = place("XDG_STATE_HOME", "/var/lib/cleanroom", ".local/state");
  if (!missing.empty()) {
    return Err(
        Error(ErrorCode::kFailedPrecondition,
              fmt::format("neither HOME nor {} is set to an absolute path; set HOME", missing))
            .Remedy("Set HOME to an absolute path, and try again"));
  }
  const std::string runtime = absolute("XDG_RUNTIME_DIR");
  if (!runtime.empty()) {
    paths.runtime_dir = runtime + "/cleanroom";
  } else {
    paths.runtime_dir = root ? "/run/cleanroom" : paths.state_dir + "/run";
  }
  paths.socket = paths.runtime_dir + "/cleanroom.sock";
  return paths;
}

}  // namespace cleanroom::config
