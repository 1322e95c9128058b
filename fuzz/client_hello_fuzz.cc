// The first bytes of a connection. The first byte chooses how the rest is cut: the cut must not
// change what it is taken for.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "doors/wire/sniffer.h"

namespace wire = cleanroom::doors::wire;

namespace {

wire::Sniffed Sniff(std::string_view input, size_t step) {
  wire::Sniffer sniffer;
  wire::Sniffed out;
  while (!input.empty() && out.kind == wire::Sniffed::Kind::kNeedMore) {
    const size_t count = std::min(step, input.size());
    out = sniffer.Feed(input.substr(0, count));
    input.remove_prefix(count);
  }
  if (out.kind == wire::Sniffed::Kind::kNeedMore &&
      sniffer.bytes().size() > wire::Sniffer::kMaxHello) {
    abort();  // it must not wait for ever more
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const wire::Sniffed whole = Sniff(input, input.size());
  for (const size_t step : {size_t{1}, data[0] + size_t{1}}) {
    const wire::Sniffed cut = Sniff(input, step);
    if (whole.kind != cut.kind || whole.server_name != cut.server_name ||
        whole.encrypted_hello != cut.encrypted_hello || whole.problem != cut.problem) {
      abort();
    }
  }
  return 0;
}
