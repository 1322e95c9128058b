#include "accounts/users.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::accounts {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken:x:abc:1:::\n"
    "\n"
    "app:x:1000:1001:App,,,:/home/app:/bin/bash\n"
    "1234:x:7:8::/numeric:/bin/sh\n"
    "evil:x:4294967295:0::/:/bin/sh\n"
    "relative:x:9:9::etc:/bin/sh\n"
    "last:x:10:10::/last";
constexpr std::string_view kGroup =
    "root:x:0:\nvideo:x:44:app,other\nbad:x:-1:app\ndocker:x:999:other,app\nweb:x:33:apple\n";

TEST(UsersTest, EmptyIsRootWithItsHome) {
  const auto user = ResolveUser("", kPasswd, kGroup);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 0U);
  EXPECT_EQ(user->home, "/root");
}

TEST(UsersTest, NameBringsItsGroups) {
  const auto user = ResolveUser("app", kPasswd, kGroup);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 1000U);
  EXPECT_EQ(user->gid, 1001U);
  EXPECT_EQ(user->home, "/home/app");
  EXPECT_THAT(user->groups, ElementsAre(44, 999));
}

TEST(UsersTest, ListedNumberIsThatUser) {
  const auto user = ResolveUser("1000", kPasswd, kGroup);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->gid, 1001U);
  EXPECT_THAT(user->groups, ElementsAre(44, 999));
}

TEST(UsersTest, UnlistedNumberStandsForItself) {
  const auto user = ResolveUser("4242", kPasswd, kGroup);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 4242U);
  EXPECT_EQ(user->gid, 0U);
  EXPECT_EQ(user->home, "/");
  EXPECT_THAT(user->groups, IsEmpty());
}

TEST(UsersTest, NameThatLooksLikeANumberWins) {
  EXPECT_EQ(ResolveUser("1234", kPasswd, kGroup)->uid, 7U);
}

TEST(UsersTest, ExplicitGroupReplacesAllGroups) {
  const auto named = ResolveUser("app:web", kPasswd, kGroup);
  ASSERT_TRUE(named);
  EXPECT_EQ(named->gid, 33U);
  EXPECT_THAT(named->groups, IsEmpty());
  EXPECT_EQ(ResolveUser("5:77", "", "")->gid, 77U);
}

TEST(UsersTest, LastLineNeedsNoNewline) {
  EXPECT_EQ(ResolveUser("last", kPasswd, kGroup)->home, "/last");
}

TEST(UsersTest, HomeThatIsNoAbsolutePathIsNotUsed) {
  EXPECT_EQ(ResolveUser("relative", kPasswd, kGroup)->home, "/");
}

TEST(UsersTest, MissingNamesAreNotFound) {
  EXPECT_EQ(ResolveUser("nobody-here", kPasswd, kGroup).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ResolveUser("app:nogroup", kPasswd, kGroup).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ResolveUser("broken", kPasswd, kGroup).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ResolveUser("evil", kPasswd, kGroup).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ResolveUser("4294967295", kPasswd, kGroup).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ResolveUser("99999999999", kPasswd, kGroup).error().code(), ErrorCode::kNotFound);
}

TEST(UsersTest, SpecificationsThatCannotBeAreRefused) {
  for (const std::string& spec :
       {std::string("a:b:c"), std::string("app:"), std::string("a\nb"), std::string(300, 'u')}) {
    EXPECT_EQ(ResolveUser(spec, kPasswd, kGroup).error().code(), ErrorCode::kInvalidArgument)
        << spec;
  }
}

TEST(UsersTest, TooManyGroupsIsAnError) {
  std::string group;
  for (size_t i = 0; i <= kMaxGroups; ++i) {
    group += "g" + std::to_string(i) + ":x:" + std::to_string(i) + ":app\n";
  }
  EXPECT_EQ(ResolveUser("app", kPasswd, group).error().code(), ErrorCode::kResourceExhausted);
}

}  // namespace
}  // namespace cleanroom::accounts
