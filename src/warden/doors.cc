#include "warden/doors.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace cleanroom::warden {
namespace {

constexpr size_t kMaxResolvers = 8;

// "192.0.2.1:53", "[2001:db8::1]:53".
Result<net::DnsServer> ParseResolver(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, std::min(colon, text.size()));
  const std::string_view digits = colon == text.npos ? "" : text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto address = net::IpAddress::Parse(host);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (!address || error != std::errc() || end != digits.data() + digits.size() || port == 0) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("resolver '{}' is not ADDRESS:PORT", text.substr(0, 64)));
  }
  return net::DnsServer{.address = *address, .port = port};
}

}  // namespace

struct Doors::Parts {
  policy::CompiledPolicy policy;
  doors::ResolverConfig resolver;
  std::vector<net::IpAddress> gateway;
};

Result<std::unique_ptr<Doors>> Doors::Open(asio::any_io_executor executor, DoorsConfig config,
                                           doors::DecisionSink& sink) {
  CR_TRY_ASSIGN(auto policy, policy::CompiledPolicy::FromCanonicalJson(config.policy_json));
  Parts parts{.policy = std::move(policy), .resolver = {}, .gateway = {}};
  if (config.resolvers.size() > kMaxResolvers) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("{} resolvers, more than {}", config.resolvers.size(), kMaxResolvers));
  }
  for (const std::string& text : config.resolvers) {
    CR_TRY_ASSIGN(const auto server, ParseResolver(text));
    parts.resolver.servers.push_back(server);
  }
  for (const std::string& text : config.gateway) {
    const auto address = net::IpAddress::Parse(text);
    if (!address) {
      return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is not an IP address", text));
    }
    parts.gateway.push_back(*address);
  }
  return std::unique_ptr<Doors>(
      new Doors(std::move(executor), std::move(parts), std::move(config.sockets), sink));
}

Doors::Doors(asio::any_io_executor executor, Parts parts, os::DoorSockets sockets,
             doors::DecisionSink& sink)
    : rules_(std::move(parts.policy)),
      resolver_(executor, std::move(parts.resolver)),
      dns4_(std::move(sockets.dns4)),
      dns6_(std::move(sockets.dns6)),
      dns_(executor, {.gateway = parts.gateway}, rules_, memory_, resolver_, sink),
      tcp_(
          executor,
          {.gateway = parts.gateway, .connection = {}, .dialer = {.guard = &dns_.tunnel_guard()}},
          rules_, memory_, resolver_, [this](int fd) { return dns_.ServeTcp(fd); }, sink),
      udp_(executor, {.gateway = parts.gateway}, rules_, memory_, sink),
      tasks_(executor) {
  tasks_.Spawn(ServeNames(dns4_.get()));
  tasks_.Spawn(ServeNames(dns6_.get()));
  tcp_.Serve(std::move(sockets.tcp4), std::move(sockets.tcp6));
  udp_.Serve({.udp4 = std::move(sockets.udp4),
              .udp6 = std::move(sockets.udp6),
              .raw4 = std::move(sockets.raw4),
              .raw6 = std::move(sockets.raw6)});
}

Doors::~Doors() = default;

Awaitable<void> Doors::ServeNames(int fd) { co_await dns_.ServeUdp(fd); }

void Doors::SetStage(policy::Stage stage) {
  rules_.SetStage(stage);
  tcp_.StageChanged();
  udp_.StageChanged();
}

Awaitable<void> Doors::Close() {
  tasks_.Cancel();
  co_await tcp_.Close();
  co_await udp_.Close();
  co_await tasks_.Join();
}

Result<policy::Stage> ParseStage(std::string_view name) {
  using policy::Stage;
  for (const Stage stage :
       {Stage::kRepository, Stage::kDependencies, Stage::kServices, Stage::kExecution}) {
    if (ToString(stage) == name) return stage;
  }
  return Err(ErrorCode::kInvalidArgument, fmt::format("no stage '{}'", name.substr(0, 64)));
}

}  // namespace cleanroom::warden
