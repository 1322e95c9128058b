// The frames of one HTTP/2 connection, after a good preface and the server's SETTINGS. The first
// byte chooses how they are cut: the cut must not change what passes, and what passes is what came,
// unchanged, up to where it ends.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "doors/wire/http2_inspector.h"

namespace wire = cleanroom::doors::wire;

namespace {

struct Seen {
  wire::Http2Inspector::Outcome outcome = wire::Http2Inspector::Outcome::kGoOn;
  uint32_t stream = 0;
  bool boundary = false;
  std::string forward, asked, problem;
  bool operator==(const Seen&) const = default;
};

// A header table of 8192 bytes.
constexpr std::string_view kServer("\0\0\6\4\0\0\0\0\0\0\1\0\0\x20\0", 15);

Seen Inspect(std::string_view input, size_t step) {
  Seen seen;
  wire::Http2Inspector inspector([&seen](std::string_view host, uint16_t port) {
    seen.asked += std::string(host) + ":" + std::to_string(port) + " ";
    return !host.starts_with('x');
  });
  inspector.FromServer(kServer);
  inspector.FromClient(std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33));
  for (std::string_view rest = input; !rest.empty();) {
    const size_t count = std::min(step, rest.size());
    const auto result = inspector.FromClient(rest.substr(0, count));
    seen.outcome = result.outcome;
    seen.forward += result.forward;
    rest.remove_prefix(count);
    if (result.outcome != wire::Http2Inspector::Outcome::kGoOn) break;
  }
  if (!input.starts_with(seen.forward)) abort();
  // The same bytes as a server's.
  for (std::string_view rest = input; !rest.empty();) {
    const size_t count = std::min(step, rest.size());
    inspector.FromServer(rest.substr(0, count));
    rest.remove_prefix(count);
  }
  seen.boundary = inspector.at_server_boundary();
  seen.stream = inspector.stream();
  seen.problem = inspector.problem();
  if (inspector.Refusal("malformed", seen.problem).empty()) abort();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const Seen whole = Inspect(input, input.size() + 1);
  if (Inspect(input, 1) != whole || Inspect(input, data[0] + size_t{1}) != whole) abort();
  return 0;
}
