#include "doors/dns/dns_type.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

namespace cleanroom::doors::wire {

std::string DnsTypeName(uint16_t type) {
  static constexpr std::array<std::pair<uint16_t, std::string_view>, 26> kNames{{
      {1, "A"},     {2, "NS"},    {5, "CNAME"},  {6, "SOA"},    {12, "PTR"},   {13, "HINFO"},
      {15, "MX"},   {16, "TXT"},  {28, "AAAA"},  {33, "SRV"},   {35, "NAPTR"}, {39, "DNAME"},
      {41, "OPT"},  {43, "DS"},   {44, "SSHFP"}, {46, "RRSIG"}, {47, "NSEC"},  {48, "DNSKEY"},
      {52, "TLSA"}, {64, "SVCB"}, {65, "HTTPS"}, {99, "SPF"},   {251, "IXFR"}, {252, "AXFR"},
      {255, "ANY"}, {257, "CAA"},
  }};
  for (const auto& [number, name] : kNames) {
    if (number == type) return std::string(name);
  }
  return fmt::format("TYPE{}", type);  // RFC 3597 5
}

}  // namespace cleanroom::doors::wire
