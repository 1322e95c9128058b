// DNS messages (RFC 1035, EDNS RFC 6891, extended errors RFC 8914): what a guest asks, what a
// resolver answers, and what a guest is told. Messages are parsed and written anew, never passed
// on: nothing a guest puts beside its one question leaves the sandbox, and nothing a resolver puts
// beside its answer enters it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "doors/dns/dns_type.h"
#include "net/ip_address.h"

namespace cleanroom::doors::wire {

using Bytes = std::span<const uint8_t>;

inline constexpr size_t kMaxDnsMessage = 65'535;
inline constexpr size_t kMaxDnsRecords = 256;  // of an answer; more is an error
inline constexpr int kMaxCnames = 16;          // to follow in an answer; more is an error
inline constexpr uint16_t kUdpPayload = 1232;  // what we announce, RFC 9715

enum class Rcode : uint8_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kBadVers = 16,  // of EDNS (RFC 6891 6.1.3); in answers that are written only
};

struct DnsQuery {
  uint16_t id = 0;
  bool recursion_desired = false;
  bool edns = false;
  uint16_t udp_payload = 512;  // what the client can take over UDP, within 512 and 4096
  // The name in text, as sent (case kept), without a trailing dot; "." is the root. Labels hold
  // only what a host name or a service label may (letters, digits, `-`, `_`); others are an error.
  std::string name;
  uint16_t type = 0;
  // The question section, uncompressed, to be echoed.
  std::vector<uint8_t> question;
};

// What is wrong with a query decides how it is answered: kFormErr (more than one question, records
// beside it other than one OPT, bytes after it), kNotImp (an opcode other than QUERY, a class other
// than IN), kBadVers, or not at all when it is no query or has no whole header.
struct BadQuery {
  bool answer = false;
  uint16_t id = 0;
  uint8_t opcode = 0;  // echoed
  Rcode rcode = Rcode::kFormErr;
  std::string problem;
};
std::expected<DnsQuery, BadQuery> ParseQuery(Bytes message);

struct DnsRecord {
  // In text; bytes that no host name has are written `\DDD` (RFC 1035 5.1).
  std::string name;
  uint16_t type = 0;
  uint32_t ttl = 0;
  // Wire form with every name in it written out in full (A, AAAA, CNAME, MX, NS, PTR, SOA, SRV,
  // TXT, CAA, SVCB, HTTPS, NAPTR; see dns_rdata.h); records of other types are left out when
  // parsing.
  std::vector<uint8_t> data;
  std::optional<net::IpAddress> address;  // of A and AAAA
  std::string target;                     // of CNAME, in text
};

struct DnsAnswer {
  Rcode rcode = Rcode::kNoError;
  bool truncated = false;  // then it has no records
  // The CNAMEs from the asked name on, in order, then the records of the asked type (of any type
  // for ANY). What does not belong to the answer is left out.
  std::vector<DnsRecord> answers;
  std::vector<DnsRecord> authority;  // the SOA of a negative answer only
};

// A query of our own: recursion desired, EDNS with kUdpPayload, no client subnet. Empty when `name`
// is no name.
std::vector<uint8_t> WriteQuery(uint16_t id, std::string_view name, uint16_t type);
// data_corrupt unless `message` is a response to exactly this question (id, name in the very case
// sent, type), with pointers that only go backwards and names and counts within limits, and at most
// kMaxCnames that lead on without a loop. A response code that Rcode lacks becomes kServFail.
Result<DnsAnswer> ParseAnswer(Bytes message, uint16_t id, std::string_view name, uint16_t type);

struct ExtendedError {
  // 15 Blocked, 16 Censored, 17 Filtered, 18 Prohibited, 22 No Reachable Authority.
  uint16_t code = 15;
  std::string text;  // UTF-8, cut to 200 bytes
};
// A response to `query`. At most `limit` bytes: an answer that does not fit is cut with TC set, and
// has no records then. The extended error is written only when the client speaks EDNS.
std::vector<uint8_t> WriteResponse(const DnsQuery& query, const DnsAnswer& answer,
                                   const std::optional<ExtendedError>& error, size_t limit);
std::vector<uint8_t> WriteBadQueryResponse(const BadQuery& bad);

}  // namespace cleanroom::doors::wire
