// Every document and header that a registry or an archive sends: manifest, index, config, docker's
// manifest.json, an OCI layout's index.json, WWW-Authenticate; and records.
#include <cstdint>
#include <string_view>

#include "base/image_ref.h"
#include "image/store.h"
#include "registry/challenge.h"
#include "registry/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::image;
  using namespace cleanroom::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Limits limits;
  if (const auto document = ParseDocument(text, limits)) {
    for (const Descriptor& candidate : document->candidates) {
      if (!cleanroom::IsSha256Digest(candidate.digest)) __builtin_trap();
    }
    if (document->manifest && document->manifest->layers.size() > limits.max_layers)
      __builtin_trap();
  }
  (void)ParseConfig(text, limits);
  (void)ParseDockerArchive(text, limits);
  (void)ParseLayoutIndex(text, limits);
  (void)ParseChallenge(text);
  (void)RecordFromJson(text);
  return 0;
}
