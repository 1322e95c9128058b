#include "repository/bundle_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "os/file.h"

namespace cleanroom::repository {
namespace {

TEST(BundleStoreTest, AnotherDaemonReadsWhatWasPut) {
  const auto folder = os::TempDir::Create();
  const std::string bytes(1000, 'x'), digest = Sha256Hex(bytes);
  {
    const auto store = BundleStore::Open(folder->path() + "/bundles");
    ASSERT_THAT(store, IsOk());
    EXPECT_THAT(store->Read(digest), HasError(ErrorCode::kNotFound));
    EXPECT_THAT(store->Put(digest, bytes), IsOk());
    EXPECT_THAT(store->Put(digest, bytes), IsOk());
  }
  const auto store = BundleStore::Open(folder->path() + "/bundles");
  EXPECT_THAT(store->Read(digest), IsOkAnd(bytes));
  EXPECT_EQ(std::filesystem::status(store->folder()).permissions(),
            std::filesystem::perms::owner_all);
}

TEST(BundleStoreTest, OnlyDigestsAreNamesAndDamageIsSeen) {
  const auto folder = os::TempDir::Create();
  const auto store = BundleStore::Open(folder->path());
  for (const char* name : {"", "../x", "/etc/passwd", "ABC"})
    EXPECT_THAT(store->Read(name), HasError(ErrorCode::kInvalidArgument)) << name;
  const std::string digest = Sha256Hex("good");
  ASSERT_THAT(os::WriteFileAtomic(folder->path() + "/" + digest, "bad"), IsOk());
  EXPECT_THAT(store->Read(digest), HasError(ErrorCode::kDataCorrupt));
  // Sent again, it is whole again.
  EXPECT_THAT(store->Put(digest, "good"), IsOk());
  EXPECT_THAT(store->Read(digest), IsOkAnd(std::string("good")));
}

}  // namespace
}  // namespace cleanroom::repository
