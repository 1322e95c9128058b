// HTTP/1 requests out of hostile bytes. The first byte chooses how they are cut: the cut must not
// change what is read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/http1_parser.h"

namespace {

struct Outcome {
  bool failed = false;
  bool done = false;
  std::string body;
};

Outcome Parse(std::string_view input, size_t step) {
  constexpr size_t kHead = 2048;
  cleanroom::http::Http1Parser parser(kHead);
  Outcome out;
  std::string held;
  while (!parser.done()) {
    const auto taken = parser.Put(held, out.body, 512);
    if (!taken) {
      out.failed = true;
      return out;
    }
    held.erase(0, *taken);
    if (*taken > 0) continue;
    if (held.size() > kHead + step) std::abort();  // it must not wait for ever more
    if (input.empty()) return out;
    held.append(input.substr(0, step));
    input.remove_prefix(std::min(step, input.size()));
  }
  (void)parser.Head();
  (void)parser.keep_alive();
  (void)parser.expects_continue();
  out.done = true;
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const Outcome whole = Parse(input, 1U << 20);
  const Outcome cut = Parse(input, data[0] + size_t{1});
  if (whole.done && cut.done && whole.body != cut.body) std::abort();
  return 0;
}
