#include "net/resolv_conf.h"

#include <algorithm>

#include "net/socket_address.h"

namespace cleanroom::net {
namespace {

constexpr size_t kMaxServers = 8;
constexpr std::string_view kBlanks = " \t\r\f\v";

// The next word of the line, taken off it; empty at its end.
std::string_view TakeWord(std::string_view& line) {
  const size_t start = line.find_first_not_of(kBlanks);
  if (start == line.npos) return {};
  const size_t end = std::min(line.find_first_of(kBlanks, start), line.size());
  const std::string_view word = line.substr(start, end - start);
  line.remove_prefix(end);
  return word;
}

}  // namespace

// resolv.conf(5): a keyword at the start of a line, then its value; `;` and `#` begin comments.
std::vector<DnsServer> ParseResolvConf(std::string_view text) {
  std::vector<DnsServer> servers;
  while (!text.empty() && servers.size() < kMaxServers) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (TakeWord(line) != "nameserver") continue;
    const auto address = IpAddress::Parse(TakeWord(line));
    if (!address) continue;
    const bool known = std::any_of(servers.begin(), servers.end(),
                                   [&](const auto& server) { return server.address == *address; });
    if (!known) servers.push_back({.address = *address});
  }
  if (servers.empty()) servers.push_back({.address = IpAddress::V4({127, 0, 0, 1})});
  return servers;
}

std::string ToString(const DnsServer& server) {
  if (server.port == 53) return server.address.ToString();
  return Endpoint{server.address, server.port}.ToString();
}

}  // namespace cleanroom::net
