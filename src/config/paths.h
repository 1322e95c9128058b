// Where everything of ours lies: the XDG base directories for a user, /var and /run for a root
// daemon.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::config {

// What is read from outside, passed in.
struct Environment {
  std::function<std::optional<std::string>(std::string_view)> get;  // a variable, as getenv
  uid_t uid = 0;

  // The process's own.
  static Environment OfProcess();
};

// All absolute.
struct Paths {
  std::string config_file;  // ~/.config/cleanroom/config.yaml
  std::string tls_dir;      // ~/.config/cleanroom/tls: server.pem and server.key of a
                            // daemon, ca.pem that its clients trust
  std::string cache_dir;    // ~/.cache/cleanroom, or /var/cache/cleanroom
  std::string state_dir;    // ~/.local/state/cleanroom, or /var/lib/cleanroom
  std::string runtime_dir;  // $XDG_RUNTIME_DIR/cleanroom, or /run/cleanroom
  std::string socket;       // cleanroom.sock in runtime_dir
};

// The socket of the system's daemon, which clients of any user try first.
inline constexpr std::string_view kSystemSocket = "/var/run/cleanroom/cleanroom.sock";

// XDG_CONFIG_HOME, XDG_CACHE_HOME, XDG_STATE_HOME and XDG_RUNTIME_DIR go first where they are
// absolute, for root too; then root has the system's directories (its config in ~/.config, or in
// /etc/cleanroom without a HOME) and others those below HOME (the runtime directory in the state
// directory). failed_precondition without a HOME where one is needed.
Result<Paths> ResolvePaths(const Environment& environment);

}  // namespace cleanroom::config
