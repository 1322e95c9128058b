#include "document/bounded_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace cleanroom::document {
namespace {

TEST(BoundedJsonTest, DepthHasALimit) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseBoundedJson(nested(64)).is_array());
  EXPECT_TRUE(ParseBoundedJson(nested(66)).is_discarded());
  EXPECT_TRUE(ParseBoundedJson(nested(1'000'000)).is_discarded());
  EXPECT_TRUE(ParseBoundedJson(std::string(1'000'000, '[')).is_discarded());
  EXPECT_TRUE(ParseBoundedJson("").is_discarded());
  EXPECT_TRUE(ParseBoundedJson("{\"a\":\"\xff\"}").is_discarded());
  EXPECT_EQ(ParseBoundedJson(R"({"a":1})")["a"], 1);
}

}  // namespace
}  // namespace cleanroom::document
