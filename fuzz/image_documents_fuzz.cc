// Every document and header that a registry or an archive sends: manifest, index, config, docker's
// manifest.json, an OCI layout's index.json, WWW-Authenticate; and references and records, which
// share the rules.
#include <cstdint>
#include <string_view>

#include "image/challenge.h"
#include "image/digest.h"
#include "image/image_ref.h"
#include "image/manifest.h"
#include "image/store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Limits limits;
  if (const auto document = ParseDocument(text, limits)) {
    for (const Descriptor& candidate : document->candidates) {
      if (!IsDigest(candidate.digest)) __builtin_trap();
    }
    if (document->manifest && document->manifest->layers.size() > limits.max_layers)
      __builtin_trap();
  }
  (void)ParseConfig(text, limits);
  (void)ParseDockerArchive(text, limits);
  (void)ParseLayoutIndex(text, limits);
  (void)ParseChallenge(text);
  (void)RecordFromJson(text);
  if (const auto ref = ParseImageRef(text, kLocalHost)) {
    const auto again = ParseImageRef(ToString(*ref));
    if (!again || *again != *ref) __builtin_trap();
  }
  return 0;
}
