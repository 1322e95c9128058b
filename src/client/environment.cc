#include "client/environment.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "config/config.h"
#include "config/endpoint.h"
#include "config/paths.h"

namespace cleanroom::client {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

}  // namespace

Result<ConnectOptions> OptionsFromEnvironment(ConnectOptions given) {
  config::EndpointSources sources;
  sources.flag = given.url;
  sources.environment = Variable("CLEANROOM_HOST");
  if (sources.flag.empty() && sources.environment.empty()) {
    CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
    CR_TRY_ASSIGN(auto parsed, config::LoadOrDefault(paths.config_file));
    sources.config = std::move(parsed.config.control_host);
    sources.user_socket = paths.socket;
  }
  CR_TRY_ASSIGN(const auto resolved, config::ResolveEndpoint(sources, Exists));
  given.url = resolved.endpoint.ToString();
  if (given.tls_ca.empty()) given.tls_ca = Variable("CLEANROOM_TLS_CA");
  if (given.tls_ca.empty() && resolved.endpoint.scheme == config::Endpoint::Scheme::kHttps) {
    // Without a HOME there is no such file, and the system's authorities do.
    const auto paths = config::ResolvePaths(config::Environment::OfProcess());
    if (paths && Exists(paths->tls_dir + "/ca.pem")) given.tls_ca = paths->tls_dir + "/ca.pem";
  }
  if (given.auth_token.empty()) given.auth_token = Variable("CLEANROOM_AUTH_TOKEN");
  return given;
}

}  // namespace cleanroom::client
