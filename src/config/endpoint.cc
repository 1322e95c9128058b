#include "config/endpoint.h"

#include <fmt/format.h>

#include <charconv>

#include "config/paths.h"
#include "net/host_name.h"
#include "net/ip_address.h"

namespace cleanroom::config {
namespace {

// sun_path holds 108 bytes with its NUL.
constexpr size_t kMaxSocketPath = 107;

std::unexpected<Error> Refuse(std::string_view text, std::string_view why) {
  return Err(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "`{}` is not an endpoint: {}; write unix:///path, http://host:port or https://host:port",
          text.substr(0, 200), why));
}

Result<Endpoint> Unix(std::string_view text, std::string_view path) {
  if (!path.starts_with('/')) return Refuse(text, "the socket's path is not absolute");
  if (path.find('\0') != path.npos) return Refuse(text, "it holds a NUL");
  if (path.size() > kMaxSocketPath)
    return Refuse(text, "the socket's path has more than 107 bytes");
  return Endpoint{Endpoint::Scheme::kUnix, std::string(path), "", 0};
}

}  // namespace

Result<Endpoint> Endpoint::Parse(std::string_view text) {
  if (text.starts_with('/')) return Unix(text, text);
  constexpr std::string_view kUnixPrefix = "unix://";
  if (text.starts_with(kUnixPrefix)) return Unix(text, text.substr(kUnixPrefix.size()));

  Endpoint endpoint;
  std::string_view rest = text;
  if (text.starts_with("http://")) {
    endpoint.scheme = Scheme::kHttp;
    endpoint.port = 80;
    rest.remove_prefix(7);
  } else if (text.starts_with("https://")) {
    endpoint.scheme = Scheme::kHttps;
    endpoint.port = 443;
    rest.remove_prefix(8);
  } else {
    return Refuse(text, "its scheme is none of unix, http and https");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@") != rest.npos)
    return Refuse(text, "only a host and a port may follow the scheme");

  std::string_view host = rest;
  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == rest.npos) return Refuse(text, "`]` is missing");
    host = rest.substr(1, close - 1);
    const std::string_view tail = rest.substr(close + 1);
    has_port = tail.starts_with(':');
    if (!has_port && !tail.empty()) return Refuse(text, "only a port may follow `]`");
    if (has_port) port = tail.substr(1);
    if (host.find(':') == host.npos) return Refuse(text, "brackets are for IPv6 addresses");
  } else if (const size_t colon = rest.find(':'); colon != rest.npos) {
    host = rest.substr(0, colon);
    port = rest.substr(colon + 1);
    has_port = true;
  }
  if (has_port) {
    const auto [end, error] =
        std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (error != std::errc() || end != port.data() + port.size())
      return Refuse(text, "its port is not 0 to 65535");
  }
  if (const auto address = net::IpAddress::Parse(host)) {
    endpoint.host = address->ToString();
    return endpoint;
  }
  const Result<std::string> name = net::NormalizeHost(host);
  if (!name) return Refuse(text, name.error().message());
  endpoint.host = *name;
  return endpoint;
}

std::string Endpoint::ToString() const {
  if (scheme == Scheme::kUnix) return "unix://" + path;
  const std::string_view prefix = scheme == Scheme::kHttp ? "http" : "https";
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", prefix, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

Result<ResolvedEndpoint> ResolveEndpoint(const EndpointSources& sources,
                                         const std::function<bool(const std::string&)>& exists) {
  const std::pair<const std::string*, std::string_view> kNamed[] = {
      {&sources.flag, "--host"},
      {&sources.environment, "CLEANROOM_HOST"},
      {&sources.config, "control_host"}};
  for (const auto& [text, source] : kNamed) {
    if (text->empty()) continue;
    Result<Endpoint> endpoint = Endpoint::Parse(*text);
    if (!endpoint) return Err(std::move(endpoint).error().Context(source));
    return ResolvedEndpoint{*std::move(endpoint), std::string(source)};
  }
  const std::string system(kSystemSocket);
  if (exists(system))
    return ResolvedEndpoint{{Endpoint::Scheme::kUnix, system, "", 0}, "system socket"};
  CR_TRY_ASSIGN(Endpoint user, Endpoint::Parse(sources.user_socket));
  return ResolvedEndpoint{std::move(user), "user socket"};
}

}  // namespace cleanroom::config
