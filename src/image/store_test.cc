#include "image/store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "tests/support/command.h"

namespace cleanroom::image {
namespace {

using testing::TestFolder;

class StoreTest : public ::testing::Test {
 protected:
  ImageStore Open() { return std::move(*ImageStore::Open(folder_ / "cache")); }

  ImageRecord Add(const ImageStore& store, char fill, const std::string& ref) {
    ImageRecord record;
    record.digest = record.manifest_digest = "sha256:" + std::string(64, fill);
    record.config.env = {"A=\xff"};  // no UTF-8
    const auto temp = store.MakeTemp();
    std::ofstream(temp->path() / "rootfs.ext4") << "content";
    const auto lock = store.Lock(record.digest, {});
    EXPECT_TRUE(store.Commit(record, *temp));
    return *store.AddRef(record.digest, *ImageRef::Parse(ref), {});
  }
  TestFolder folder_;
};

TEST_F(StoreTest, ListsGetsAndRemoves) {
  ImageStore store = Open();
  EXPECT_TRUE(store.List()->empty());
  const ImageRecord a = Add(store, 'a', "host.example/x:1");
  const ImageRecord b = Add(store, 'b', "host.example/y");
  EXPECT_EQ(store.List()->size(), 2u);
  EXPECT_EQ(store.Get("host.example/x:1")->digest, a.digest);
  EXPECT_EQ(store.Get("host.example/y")->digest, b.digest);
  EXPECT_EQ(store.Get(a.digest)->digest, a.digest);
  EXPECT_EQ(store.Get("elsewhere.example/z@" + b.digest)->digest, b.digest);
  EXPECT_EQ(store.Get("host.example/x:2").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store.Get("../../x").error().code(), ErrorCode::kInvalidArgument);
  const auto refused = store.Remove(a.digest, [](const ImageRecord&) { return true; }, {});
  EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(store.Get(a.digest));
  EXPECT_TRUE(store.Remove("host.example/x:1", [](const ImageRecord&) { return false; }, {}));
  EXPECT_EQ(store.Remove(a.digest, {}, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store.List()->size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(a.rootfs));
}

TEST_F(StoreTest, AShortNameIsThisMachinesElseDockerHubs) {
  ImageStore store = Open();
  const ImageRecord pulled = Add(store, 'a', "docker.io/library/alpine:3");
  EXPECT_EQ(store.Get("alpine:3")->digest, pulled.digest);
  const ImageRecord imported = Add(store, 'b', "localhost/alpine:3");
  EXPECT_EQ(store.Get("alpine:3")->digest, imported.digest);
  EXPECT_EQ(store.Get("docker.io/alpine:3")->digest, pulled.digest);
}

TEST_F(StoreTest, ATagNamesOneImage) {
  ImageStore store = Open();
  Add(store, 'a', "host.example/x:1");
  const ImageRecord b = Add(store, 'b', "host.example/x:1");
  EXPECT_EQ(store.Get("host.example/x:1")->digest, b.digest);
  EXPECT_TRUE(store.Get("sha256:" + std::string(64, 'a'))->refs.empty());
}

TEST_F(StoreTest, WhatADeadProcessLeftGoes) {
  const ImageRecord image = Add(Open(), 'a', "host.example/x:1");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const ImageStore store = Open();
    const auto temp = store.MakeTemp();
    const auto lock = store.Lock("sha256:" + std::string(64, 'c'), {});
    std::ofstream(temp->path() / "half") << "half";
    std::ofstream(image.rootfs.parent_path() / "image.json.Ab3dEf") << "half";
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  Open();  // the owner lives: nothing goes
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "cache/tmp"), {}), 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "cache/locks"), {}), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  Open();
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache/tmp"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache/locks"));
  EXPECT_FALSE(std::filesystem::exists(image.rootfs.parent_path() / "image.json.Ab3dEf"));
  EXPECT_TRUE(Open().Find(image.digest));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(StoreTest, LocksExcludeAndCanBeGivenUp) {
  ImageStore store = Open();
  const std::string digest = "sha256:" + std::string(64, 'a');
  std::atomic<int> inside = 0;
  std::atomic<int> worst = 0;
  const auto work = [&] {
    for (int i = 0; i < 20; ++i) {
      const auto lock = store.Lock(digest, {});
      ASSERT_TRUE(lock);
      worst = std::max(worst.load(), ++inside);
      std::this_thread::yield();
      --inside;
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(worst, 1);
  const auto held = store.Lock(digest, {});
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(store.Lock(digest, stop.get_token()).error().code(), ErrorCode::kCanceled);
}

}  // namespace
}  // namespace cleanroom::image
