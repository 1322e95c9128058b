#include "rpc/json/json_codec.h"

#include <gtest/gtest.h>

#include <string>

#include "cleanroom/v1/error.pb.h"
#include "cleanroom/v1/policy.pb.h"

namespace cleanroom::rpc {
namespace {

TEST(JsonCodecTest, RoundTrip) {
  v1::Policy policy;
  policy.set_image_ref("r@sha256:00");
  policy.add_allow()->set_host("example.com");
  const auto json = JsonCodec().Encode(policy);
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ(*json, R"({"imageRef":"r@sha256:00","allow":[{"host":"example.com"}]})");
  v1::Policy back;
  ASSERT_TRUE(JsonCodec().Decode(*json, back).has_value());
  EXPECT_EQ(back.SerializeAsString(), policy.SerializeAsString());
}

TEST(JsonCodecTest, NewerFieldsAreIgnored) {
  v1::Policy policy;
  EXPECT_TRUE(JsonCodec().Decode(R"({"version":1,"notYet":{"a":[1]}})", policy).has_value());
  EXPECT_EQ(policy.version(), 1);
}

TEST(JsonCodecTest, HostileInput) {
  v1::Policy policy;
  for (const std::string& bad :
       {std::string(), std::string("["), std::string("{\"version\":\"x\"}"),
        std::string("\xff\xfe"), "{\"allow\":" + std::string(100'000, '[') + "}",
        "{\"x\":" + std::string(100'000, '[') + "}"}) {
    const auto decoded = JsonCodec().Decode(bad, policy);
    ASSERT_FALSE(decoded.has_value()) << bad.substr(0, 20);
    EXPECT_EQ(decoded.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(JsonCodecTest, LiteMessagesHaveNoJson) {
  v1::ErrorDetail lite;
  EXPECT_EQ(JsonCodec().Encode(lite).error().code(), ErrorCode::kUnimplemented);
  EXPECT_EQ(JsonCodec().Decode("{}", lite).error().code(), ErrorCode::kUnimplemented);
}

}  // namespace
}  // namespace cleanroom::rpc
