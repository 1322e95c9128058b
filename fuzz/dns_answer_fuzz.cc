// DNS answers out of hostile bytes, to the question that the message itself repeats. An answer that
// is read, written and read again must not change.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "doors/dns/dns_message.h"
#include "doors/dns/dns_name.h"

namespace wire = cleanroom::doors::wire;

namespace {

bool Same(const std::vector<wire::DnsRecord>& a, const std::vector<wire::DnsRecord>& b) {
  return std::ranges::equal(a, b, [](const wire::DnsRecord& x, const wire::DnsRecord& y) {
    return x.type == y.type && x.ttl == y.ttl && x.data == y.data && x.address == y.address &&
           x.target == y.target;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  wire::DnsCursor cursor({data, size});
  uint16_t id = 0;
  uint16_t type = 0;
  wire::DnsQuery query;
  if (!cursor.U16(id) || !cursor.Skip(10) ||
      !cursor.Name(wire::DnsCursor::Pointers::kForbidden, query.question) || !cursor.U16(type)) {
    return 0;
  }
  const std::string name = wire::NameToText(query.question);
  const auto answer = wire::ParseAnswer({data, size}, id, name, type);
  if (!answer || answer->truncated) return 0;

  query.id = id;
  query.edns = true;
  query.name = name;
  query.type = type;
  wire::PutU16(query.question, type);
  wire::PutU16(query.question, 1);
  const auto written = wire::WriteResponse(query, *answer, std::nullopt, wire::kMaxDnsMessage);
  if (written.size() > wire::kMaxDnsMessage) abort();
  const auto again = wire::ParseAnswer(written, id, name, type);
  if (!again || again->rcode != answer->rcode) abort();
  if (again->truncated) return 0;  // written in full, it does not fit
  if (!Same(again->answers, answer->answers) || !Same(again->authority, answer->authority)) abort();
  return 0;
}
