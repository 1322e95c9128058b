// Canonical JSON from the wire: whatever is accepted is the one text of its policy.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policy/compiled.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::policy;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto policy = CompiledPolicy::FromCanonicalJson(text);
  if (policy && policy->CanonicalJson() != text) abort();

  // The hash stands in the way of mutations: put the right one in, and most of them get past it.
  std::string patched(text);
  const size_t at = patched.find("\"hash\":\"");
  if (policy || at == std::string::npos) return 0;
  const auto wrong = policy.error().message();
  constexpr std::string_view kTail = "or its hash is not ";
  const size_t hash = wrong.find(kTail);
  if (hash == std::string::npos) return 0;
  const size_t start = at + 8;
  const size_t end = patched.find('"', start);
  if (end == std::string::npos) return 0;
  patched.replace(start, end - start, wrong.substr(hash + kTail.size(), 64));
  const auto again = CompiledPolicy::FromCanonicalJson(patched);
  if (again && again->CanonicalJson() != patched) abort();
  return 0;
}
