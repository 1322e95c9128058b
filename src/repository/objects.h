// Objects layers: the packs of a mirror at one time. Which one is a mirror's current stands in a file
// beside the mirror; what it reaches, beside the layer.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror_store.h"
#include "layers/layer_store.h"
#include "repository/layer_file.h"

namespace cleanroom::repository {

inline constexpr const char* kObjectsKind = "objects";

struct Generation {
  layers::LayerRecord record;
  std::vector<std::string> tips;  // what it reaches is in it; ids
  bool made_now = false;
};

struct GenerationRules {
  uint64_t least_pack_bytes = 0;
  uint32_t percent = 0;
  LayerLimits limits{};
};

class Objects {
 public:
  // All outlive this.
  Objects(const git::MirrorStore& mirrors, const layers::LayerStore& layers,
          const git::Mirror& mirror, const git::Control& control)
      : mirrors_(mirrors), layers_(layers), mirror_(mirror), control_(control) {}

  // The mirror's current generation; one is made when there is none.
  Result<Generation> Current(const GenerationRules& rules) const;
  // A new one that has all that the mirror has now.
  Result<Generation> Renew(const GenerationRules& rules) const;

  // Packs what `wanted` reaches in `source` (the mirror, or a repository over it) and the generation
  // does not have into `folder`. Answers the names of
  // the files; none when it has everything.
  Result<std::vector<std::string>> PackRest(const Generation& generation, const git::Mirror& source,
                                            const std::vector<std::string>& wanted,
                                            const std::filesystem::path& folder) const;
  static bool IsTooMuch(const Generation& generation, const std::filesystem::path& folder,
                        const GenerationRules& rules);

 private:
  Result<Generation> Read(layers::LayerRecord record, bool made_now) const;
  Result<std::string> AllTips() const;
  Result<void> OnePack() const;

  const git::MirrorStore& mirrors_;
  const layers::LayerStore& layers_;
  const git::Mirror& mirror_;
  const git::Control& control_;
};

}  // namespace cleanroom::repository
