// A cleanroom.yaml: reading never crashes, and what is accepted compiles to bytes that mean the
// same policy.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "document/document.h"
#include "policy/compiled.h"
#include "policy/load.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::policy;
  using namespace cleanroom::document;
  ParseResult parsed = Parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!parsed) {
    if (parsed.error().empty() || parsed.error().size() > kMaxDiagnostics) abort();
    for (const Diagnostic& diagnostic : parsed.error()) {
      if (diagnostic.line < 1 || diagnostic.column < 1 || diagnostic.message.empty()) abort();
    }
    return 0;
  }
  const auto compiled = CompiledPolicy::Compile(*std::move(parsed));
  if (!compiled) return 0;  // too large once compiled
  const auto again = CompiledPolicy::FromCanonicalJson(compiled->CanonicalJson());
  if (!again || *again != *compiled || again->hash() != compiled->hash()) abort();
  return 0;
}
