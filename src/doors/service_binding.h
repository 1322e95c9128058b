// The data of HTTPS and SVCB records (RFC 9460), cut down to what a sandbox may use.
//
// Left out are the parameters `ech` (RFC 9849: with it a client hides the server name that the TCP
// door has to read) and `ipv4hint` and `ipv6hint` (addresses that were not checked; without them a
// client asks for A and AAAA, which are), and whatever is not known. `alpn`, `no-default-alpn` and
// `port` stay: they tell a client how to connect, not where.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cleanroom::doors {

struct ServiceBinding {
  std::string target;         // in text, as sent; "." is the owner of the record
  std::vector<uint8_t> data;  // to be passed on
};

// `data` as a DnsRecord's: the target written out in full. Nothing when it is malformed, or when it
// makes mandatory what is left out: a client could then not use it.
std::optional<ServiceBinding> CutServiceBinding(std::span<const uint8_t> data);

}  // namespace cleanroom::doors
