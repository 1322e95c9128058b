// DNS queries out of hostile bytes. What is answered must be a DNS message within the limit, and a
// query written from what was read must be read the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "doors/dns/dns_message.h"

namespace wire = cleanroom::doors::wire;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto query = wire::ParseQuery({data, size});
  if (!query) {
    if (query.error().answer && wire::WriteBadQueryResponse(query.error()).size() < 12) abort();
    return 0;
  }
  const auto again = wire::ParseQuery(wire::WriteQuery(query->id, query->name, query->type));
  if (!again || again->name != query->name || again->question != query->question) abort();

  wire::DnsAnswer refused;
  refused.rcode = wire::Rcode::kRefused;
  const wire::ExtendedError error{.code = 15, .text = std::string(400, 'x')};
  const auto response = wire::WriteResponse(*query, refused, error, 512);
  if (response.size() > 512) abort();
  const auto read = wire::ParseAnswer(response, query->id, query->name, query->type);
  if (!read || read->rcode != wire::Rcode::kRefused) abort();
  return 0;
}
