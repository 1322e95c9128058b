#include "repository/layer_use.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cleanroom::repository {
namespace {

using ::testing::IsEmpty;

layers::LayerRecord Layer(const char* kind, const std::string& key,
                          std::map<std::string, std::string> facts) {
  layers::LayerRecord record;
  record.id = {kind, key};
  record.notes.facts = std::move(facts);
  return record;
}

TEST(LayersOf, ACommitNeedsItsWorkTreesAndWhatTheyLieOver) {
  const std::vector<layers::LayerRecord> all = {
      Layer(kWorkTreeKind, "delta",
            {{"mirror", "m"},
             {"commit", "2"},
             {"base", "whole"},
             {"objects", "shared"},
             {"submodules", "subs"}}),
      Layer(kWorkTreeKind, "whole", {{"mirror", "m"}, {"commit", "1"}, {"base", ""}}),
      Layer(kWorkTreeKind, "other", {{"mirror", "m"}, {"commit", "3"}, {"base", ""}}),
      Layer(kWorkTreeKind, "twin", {{"mirror", "n"}, {"commit", "2"}, {"base", ""}}),
      Layer(kSubmodulesKind, "subs", {}),
      Layer(kSubmodulesKind, "others", {}),
      Layer(kObjectsKind, "own", {{"mirror", "m"}}),
      Layer(kObjectsKind, "shared", {{"mirror", "n"}}),
      Layer(kObjectsKind, "foreign", {{"mirror", "n"}}),
      Layer("image", "i", {{"mirror", "m"}, {"commit", "2"}})};
  const auto needed = LayersOf(all, {{"m", "2"}});
  EXPECT_EQ(needed, (std::set<layers::LayerId>{{kWorkTreeKind, "delta"},
                                               {kWorkTreeKind, "whole"},
                                               {kObjectsKind, "own"},
                                               {kObjectsKind, "shared"},
                                               {kSubmodulesKind, "subs"}}));
  EXPECT_THAT(LayersOf(all, {}), IsEmpty());
}

}  // namespace
}  // namespace cleanroom::repository
