// Host names and addresses, from files and from guests: one normal form each, and no address passes
// for a name.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "net/host_name.h"
#include "net/ip_address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::net;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = NormalizeHost(text)) {
    const auto again = NormalizeHost(*name);
    const auto wire = NormalizeWireHost(*name);
    if (!again || *again != *name || !wire || *wire != *name || IpAddress::Parse(*name)) abort();
  }
  if (const auto pattern = HostPattern::Parse(text)) {
    const auto again = HostPattern::Parse(pattern->text());
    if (!again || *again != *pattern) abort();
  }
  if (const auto block = Cidr::Parse(text)) {
    const auto again = Cidr::Parse(block->ToString());
    if (!again || *again != *block || !block->Contains(block->base())) abort();
  }
  return 0;
}
