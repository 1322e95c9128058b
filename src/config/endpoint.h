// Endpoint: how a client reaches a control plane, or where one listens.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::config {

struct Endpoint {
  enum class Scheme { kUnix, kHttp, kHttps };

  Scheme scheme = Scheme::kUnix;
  std::string path;  // of the socket, for kUnix
  std::string host;  // for the others: a name or an IP literal without brackets
  uint16_t port = 0;

  // "unix:///path", "http://host[:port]" or "https://host[:port]" (ports 80 and 443 when left out),
  // or the absolute path of a socket. invalid_argument otherwise. Port 0, for listeners only, is
  // any free port.
  static Result<Endpoint> Parse(std::string_view text);
  std::string ToString() const;
  bool operator==(const Endpoint&) const = default;
};

struct EndpointSources {
  std::string flag;         // --host
  std::string environment;  // CLEANROOM_HOST
  std::string config;       // control_host
  std::string user_socket;  // Paths::socket
};

struct ResolvedEndpoint {
  Endpoint endpoint;
  // "--host", "CLEANROOM_HOST", "control_host", "system socket" or "user socket".
  std::string source;
};

// The first source that is not empty; else the system's socket if `exists`, else the user's. An
// error names the source that was wrong.
Result<ResolvedEndpoint> ResolveEndpoint(const EndpointSources& sources,
                                         const std::function<bool(const std::string&)>& exists);

}  // namespace cleanroom::config
