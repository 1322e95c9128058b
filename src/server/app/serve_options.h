// ServeOptions: from the flags of `cleanroomd serve` and the config file to what the control plane
// is given.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "config/paths.h"
#include "server/app/control_plane.h"

namespace cleanroom::server {

// As typed; empty: not given.
struct ServeFlags {
  std::vector<std::string> listen;
  std::string config;
  std::string state_dir;
  std::string cache_dir;
  std::string runtime_dir;
  std::string tls_cert;
  std::string tls_key;
  std::string log_level = "info";
  std::string gateway_listen;
  int64_t guest_silence_seconds = 0;  // 0: not given
};

struct TlsFiles {
  std::string certificate;  // PEM; empty: no https
  std::string key;
};

struct ServeOptions {
  ControlPlaneConfig control_plane;  // without tls and json
  TlsFiles tls;
  config::LogFormat log_format = config::LogFormat::kText;
};

// `program_dir`: where our other programs lie (cleanroom-warden, cleanroom-guest). Reads tokens
// from where the config says.
Result<ServeOptions> MakeServeOptions(const ServeFlags& flags, const config::Config& config,
                                      const config::Paths& paths, const std::string& program_dir);

// What the config file asks for and this build does not do, by key; said at the start, for nobody
// should rely on it.
std::vector<std::string> WithoutEffect(const config::Config& config);

// The secret's value; not_found or failed_precondition, naming the place and never the value.
Result<std::string> ReadSecret(const config::SecretSource& source);

}  // namespace cleanroom::server
