// The few rtnetlink requests that the network of a sandbox needs, on its host's side and in the
// guest: link flags, addresses, neighbours, routes.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::os {

class Netlink {
 public:
  // Speaks to the network namespace this thread is in now.
  static Result<Netlink> Open();

  // 0-based errors of if_nametoindex: not_found.
  static Result<unsigned> IndexOf(const std::string& interface);

  // Brings the interface up, with the hardware address `mac` unless empty.
  Result<void> SetUp(unsigned index, const std::string& mac = "");
  // Adds address/prefix, usable at once: without duplicate address detection. One that is there is
  // replaced.
  Result<void> AddAddress(unsigned index, const std::string& address, int prefix);
  // A permanent neighbour: nobody is asked who has `address`.
  Result<void> AddNeighbour(unsigned index, const std::string& address, const std::string& mac);

  // Everything without a better route goes by `gateway`, which is on this link whatever the
  // prefixes say.
  Result<void> AddDefaultRoute(unsigned index, const std::string& gateway);

  // Packets with the mark are for this namespace, whatever their destination: a rule that sends
  // them to `table`, whose only route is `local default` by the interface `loopback`. `family` is
  // AF_INET or AF_INET6.
  Result<void> DeliverMarked(uint8_t family, uint32_t mark, uint32_t table, unsigned loopback);

 private:
  explicit Netlink(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> Send(void* message, const std::string& what);
  UniqueFd fd_;
};

}  // namespace cleanroom::os
