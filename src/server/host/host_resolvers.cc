#include "server/host/host_resolvers.h"

#include "net/resolv_conf.h"
#include "net/socket_address.h"
#include "os/file.h"

namespace cleanroom::server {
namespace {

constexpr size_t kMaxResolvConf = 64U << 10;

}  // namespace

std::vector<std::string> HostResolvers(const Settings& settings) {
  if (!settings.resolvers.empty()) return settings.resolvers;
  const auto text = os::ReadFile(settings.resolv_conf.string(), kMaxResolvConf);
  std::vector<std::string> out;
  for (const auto& server : net::ParseResolvConf(text ? *text : "")) {
    out.push_back(net::Endpoint{server.address, server.port}.ToString());
  }
  return out;
}

}  // namespace cleanroom::server
