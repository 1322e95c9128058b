// The requests of one HTTP/1 connection. The first byte chooses how they are cut: the cut must not
// change what passes, and what passes is what came, unchanged, up to where it ends; but offers of
// HTTP/2 are taken out, so that what passes would pass again as it is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "doors/wire/http1_inspector.h"

namespace wire = cleanroom::doors::wire;

namespace {

// What follows it is what the server says.
constexpr std::string_view kAnswerMark("\0\0S", 3);

struct Seen {
  wire::Http1Inspector::Outcome outcome = wire::Http1Inspector::Outcome::kGoOn;
  std::string forward, asked, problem;
  bool operator==(const Seen&) const = default;
};

bool MayOfferHttp2(std::string_view input) {
  std::string lower(input);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return lower.find("h2c") != lower.npos || lower.find("http2-settings") != lower.npos;
}

Seen Inspect(std::string_view input, size_t step) {
  Seen seen;
  wire::Http1Inspector inspector([&seen](std::string_view host, uint16_t port) {
    seen.asked += std::string(host) + ":" + std::to_string(port) + " ";
    return !host.starts_with('x');
  });
  auto take = [&seen](const wire::Http1Inspector::Step& result) {
    seen.outcome = result.outcome;
    seen.forward += result.forward;
  };
  const size_t split = input.find(kAnswerMark);
  std::string_view answer;
  if (split != std::string_view::npos) {
    answer = input.substr(split + 3);
    input = input.substr(0, split);
  }
  for (std::string_view rest = input; !rest.empty();) {
    const size_t count = std::min(step, rest.size());
    take(inspector.FromClient(rest.substr(0, count)));
    rest.remove_prefix(count);
  }
  while (inspector.wants_response() && !answer.empty()) {
    const size_t count = std::min(step, answer.size());
    take(inspector.FromServer(answer.substr(0, count)));
    answer.remove_prefix(count);
  }
  if (!input.starts_with(seen.forward) && !MayOfferHttp2(input)) abort();
  seen.problem = inspector.problem();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const Seen whole = Inspect(input, input.size() + 1);
  if (Inspect(input, 1) != whole || Inspect(input, data[0] + size_t{1}) != whole) abort();
  // Without the server's answer, what waited for it does not pass again.
  if (input.find(kAnswerMark) != input.npos) return 0;
  if (Inspect(whole.forward, whole.forward.size() + 1).forward != whole.forward) abort();
  return 0;
}
