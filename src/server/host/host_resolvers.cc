#include "server/host/host_resolvers.h"

#include <fmt/format.h>

#include "net/resolv_conf.h"
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
    const bool v6 = server.address.family() == net::IpAddress::Family::kV6;
    const std::string host = server.address.ToString();
    out.push_back(fmt::format(fmt::runtime(v6 ? "[{}]:{}" : "{}:{}"), host, server.port));
  }
  return out;
}

}  // namespace cleanroom::server
