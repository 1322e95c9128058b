#include "layers/layer_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <latch>
#include <thread>

#include "base/testing/result_matchers.h"
#include "tests/support/command.h"

namespace cleanroom::layers {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;
using ::testing::SizeIs;

LayerId Id(char digit, std::string kind = "work-tree") {
  return {std::move(kind), std::string(64, digit)};
}

LayerStore::Builder Writes(const std::string& content) {
  return [content](const fs::path& folder) -> Result<LayerNotes> {
    CR_TRY(os::WriteFileAtomic(folder / "layer.ext4", content));
    return LayerNotes{.of = "a test", .facts = {{"commit", "c0ffee"}}};
  };
}

bool IsEmptyFolder(const fs::path& folder) { return fs::is_empty(folder); }

class LayerStoreTest : public ::testing::Test {
 protected:
  void SetAge(const LayerRecord& record, int64_t seconds) {
    const timespec when{::time(nullptr) - seconds, 0};
    const timespec times[2] = {when, when};
    ASSERT_EQ(::utimensat(AT_FDCWD, (record.folder / "layer.json").c_str(), times, 0), 0);
  }

  testing::TestFolder folder_;
  LayerStore store_ = *LayerStore::Open(folder_.path());
};

TEST_F(LayerStoreTest, MakesOnceAndFindsAgain) {
  const auto made = store_.Make(Id('a'), Writes("layer"), {});
  ASSERT_THAT(made, IsOk());
  EXPECT_TRUE(made->now);
  const auto again = store_.Make(Id('a'), Writes("other"), {});
  ASSERT_THAT(again, IsOk());
  EXPECT_FALSE(again->now);
  EXPECT_EQ(again->record.notes.of, "a test");
  EXPECT_EQ(again->record.notes.facts.at("commit"), "c0ffee");
  EXPECT_EQ(*os::ReadFile(again->record.file(), 100), "layer");
  EXPECT_GT(again->record.disk_bytes, 0u);
  struct stat st;
  ASSERT_EQ(::stat(again->record.file().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0444u);
  EXPECT_THAT(store_.List(), SizeIs(1));
  EXPECT_THAT(store_.List("objects"), IsEmpty());
}

TEST_F(LayerStoreTest, OneWorksAndTheOthersWait) {
  std::atomic<int> builds = 0, now = 0;
  std::latch started(4);
  const auto make = [&] {
    started.arrive_and_wait();
    const auto made = store_.Make(Id('b'),
                                  [&](const fs::path& folder) {
                                    ++builds;
                                    return Writes("x")(folder);
                                  },
                                  {});
    ASSERT_THAT(made, IsOk());
    now += made->now;
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(make);
  }
  EXPECT_EQ(builds, 1);
  EXPECT_EQ(now, 1);
}

TEST_F(LayerStoreTest, AFailedBuildLeavesNothing) {
  const auto made = store_.Make(Id('c'),
                                [](const fs::path& folder) -> Result<LayerNotes> {
                                  CR_TRY(os::WriteFileAtomic(folder / "layer.ext4", "part"));
                                  return Err(ErrorCode::kDataCorrupt, "no");
                                },
                                {});
  EXPECT_THAT(made, HasError(ErrorCode::kDataCorrupt));
  EXPECT_FALSE(store_.Find(Id('c')));
  EXPECT_TRUE(IsEmptyFolder(folder_ / "tmp"));
  EXPECT_TRUE(IsEmptyFolder(folder_ / "locks"));
}

TEST_F(LayerStoreTest, WhatAKilledProcessLeftGoesAtTheNextOpen) {
  fs::create_directories(folder_ / "tmp/left/layer");
  fs::create_directories(folder_ / "layers/work-tree" / fs::path(Id('d').key));
  ASSERT_THAT(LayerStore::Open(folder_.path()), IsOk());
  EXPECT_TRUE(IsEmptyFolder(folder_ / "tmp"));
  EXPECT_THAT(store_.List(), IsEmpty());
  EXPECT_THAT(store_.Make(Id('d'), Writes("x"), {}), IsOk());  // in the damaged one's place
  EXPECT_THAT(store_.List(), SizeIs(1));
}

TEST_F(LayerStoreTest, RemovesWhatIsNotInUse) {
  ASSERT_THAT(store_.Make(Id('e'), Writes("x"), {}), IsOk());
  EXPECT_THAT(store_.Remove(Id('e'), [](const LayerRecord&) { return true; }, {}),
              HasError(ErrorCode::kFailedPrecondition));
  EXPECT_THAT(store_.Remove(Id('e'), {}, {}), IsOk());
  EXPECT_FALSE(store_.Find(Id('e')));
  EXPECT_THAT(store_.Remove(Id('e'), {}, {}), HasError(ErrorCode::kNotFound));
}

TEST_F(LayerStoreTest, PrunesWhatWasNotUsedForAWhile) {
  for (const char digit : {'1', '2', '3', '4'})
    ASSERT_THAT(store_.Make(Id(digit), Writes("x"), {}), IsOk());
  for (const char digit : {'1', '2', '3'}) SetAge(*store_.Find(Id(digit)), 5000);
  ASSERT_TRUE(store_.Use(Id('2')));
  const auto gone =
      store_.Prune(std::chrono::seconds(3600),
                   [](const LayerRecord& record) { return record.id == Id('3'); }, {});
  ASSERT_THAT(gone, IsOk());
  ASSERT_THAT(*gone, SizeIs(1));
  EXPECT_EQ(gone->front().id, Id('1'));
  // What was just handed out stays, however eager the caller.
  EXPECT_THAT(store_.Prune(std::chrono::seconds(0), {}, {}), IsOkAnd(SizeIs(1)));
  EXPECT_THAT(store_.List(), SizeIs(2));
}

TEST_F(LayerStoreTest, ANameIsNoPath) {
  for (const LayerId& id :
       {LayerId{"..", std::string(64, 'a')}, LayerId{"work-tree", "../x"}, LayerId{"", ""}}) {
    EXPECT_THAT(store_.Make(id, Writes("x"), {}), HasError(ErrorCode::kInvalidArgument));
    EXPECT_THAT(store_.Remove(id, {}, {}), HasError(ErrorCode::kInvalidArgument));
    EXPECT_FALSE(store_.Use(id));
  }
}

TEST_F(LayerStoreTest, AFullDiskLeavesNothing) {
  const std::string small = folder_ / "small";
  fs::create_directory(small);
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "mounting a small file system needs root";
  const auto store = LayerStore::Open(small);
  ASSERT_THAT(store, IsOk());
  EXPECT_THAT(store->Make(Id('f'), Writes(std::string(1 << 20, 'x')), {}),
              HasError(ErrorCode::kResourceExhausted));
  EXPECT_TRUE(IsEmptyFolder(small + "/tmp"));
  EXPECT_THAT(store->Make(Id('f'), Writes("x"), {}), IsOk());
  ::umount2(small.c_str(), MNT_DETACH);
}

TEST(LayerRecord, RefusesWhatIsNoRecord) {
  EXPECT_THAT(RecordFromJson("{}"), HasError(ErrorCode::kDataCorrupt));
  EXPECT_THAT(RecordFromJson("nothing"), HasError(ErrorCode::kDataCorrupt));
}

}  // namespace
}  // namespace cleanroom::layers
