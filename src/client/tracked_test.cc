#include "client/tracked.h"

#include <gtest/gtest.h>

#include "base/id.h"

namespace cleanroom::client {
namespace {

TEST(TrackedSandboxesTest, RemembersAcrossOpens) {
  const auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder.has_value());
  const std::string id = NewId();
  {
    auto tracked = TrackedSandboxes::Open(folder->path() + "/client");
    ASSERT_TRUE(tracked.has_value());
    EXPECT_EQ(tracked->Find("thread:1"), "");
    ASSERT_TRUE(tracked->Set("thread:1", id).has_value());
    ASSERT_TRUE(tracked->Set("thread:2", NewId()).has_value());
  }
  const auto again = TrackedSandboxes::Open(folder->path() + "/client");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->Find("thread:1"), id);
}

TEST(TrackedSandboxesTest, RefusesAFileThatIsNotItsOwn) {
  const auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder.has_value());
  ASSERT_TRUE(os::WriteFileAtomic(folder->path() + "/sandboxes.json", "[1,").has_value());
  const auto tracked = TrackedSandboxes::Open(folder->path());
  ASSERT_FALSE(tracked.has_value());
  EXPECT_EQ(tracked.error().code(), ErrorCode::kDataCorrupt);
}

TEST(TrackedSandboxesTest, ForgetsIdsThatAreNone) {
  const auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder.has_value());
  ASSERT_TRUE(os::WriteFileAtomic(folder->path() + "/sandboxes.json", R"({"a": "../x", "b": 7})").has_value());
  const auto tracked = TrackedSandboxes::Open(folder->path());
  ASSERT_TRUE(tracked.has_value());
  EXPECT_EQ(tracked->Find("a"), "");
  EXPECT_EQ(tracked->Find("b"), "");
}

}  // namespace
}  // namespace cleanroom::client
