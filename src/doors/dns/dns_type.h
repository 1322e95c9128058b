// The types of DNS records that are told apart here, by IANA's numbers.
#pragma once

#include <cstdint>
#include <string>

namespace cleanroom::doors::wire {

namespace dns_type {
inline constexpr uint16_t kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kMx = 15, kTxt = 16,
                          kAaaa = 28, kSrv = 33, kNaptr = 35, kSvcb = 64, kHttps = 65, kCaa = 257,
                          kAny = 255;
}
std::string DnsTypeName(uint16_t type);  // "A", "AAAA", …, "TYPE1234"

}  // namespace cleanroom::doors::wire
