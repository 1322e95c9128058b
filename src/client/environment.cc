#include "client/environment.h"

#include <cstdlib>
#include <string>

namespace cleanroom::client {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

Result<ConnectOptions> OptionsFromEnvironment(ConnectOptions given) {
  if (given.url.empty()) given.url = Variable("CLEANROOM_HOST");
  if (given.tls_ca.empty()) given.tls_ca = Variable("CLEANROOM_TLS_CA");
  if (given.auth_token.empty()) given.auth_token = Variable("CLEANROOM_AUTH_TOKEN");
  return given;
}

}  // namespace cleanroom::client
