#include "image/import.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/testing/result_matchers.h"
#include "tests/support/command.h"
#include "tests/support/file_tree.h"
#include "tests/support/tar_builder.h"

namespace cleanroom::image {
namespace {

using testing::RunScript;
using testing::TarBuilder;
using testing::TestFolder;

class ImportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = ImageStore::Open(folder_ / "cache");
    ASSERT_THAT(opened, IsOk());
    store_.emplace(std::move(*opened));
    const auto made = RunScript("cd " + folder_.path() + R"(
mkdir -p root/bin root/etc; cp /bin/busybox root/bin/; ln -s busybox root/bin/sh; echo hi >root/etc/hello
tar -C root --format=pax -cf rootfs.tar . ; gzip -k rootfs.tar; zstd -q -k rootfs.tar
umoci init --layout oci; umoci new --image oci:latest; umoci raw add-layer --image oci:latest rootfs.tar
umoci config --image oci:latest --config.user nobody
tar -C oci -cf oci.tar . ; gzip -k oci.tar
skopeo copy --quiet --insecure-policy oci:oci:latest docker-archive:docker.tar:test/image:latest
)");
    ASSERT_EQ(made.status, 0) << made.output;
  }

  Result<ImageRecord> ImportFile(const std::string& file, const std::string& ref = "test/image") {
    const os::UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    return Import(*store_, *ImageRef::Parse(ref, kLocalRegistry), fd.get(), {}, {});
  }
  std::string Verdict(const std::string& file, const std::string& ref = "test/image") {
    const auto record = ImportFile(file, ref);
    return record ? record->digest : record.error().ToString();
  }
  bool LeftNothing() {
    return RunScript("find " + (folder_ / "cache") + " -mindepth 2").output.empty();
  }

  TestFolder folder_;
  std::optional<ImageStore> store_;
};

TEST_F(ImportTest, EveryFormGivesTheSameFiles) {
  std::map<std::string, testing::FileTree> trees;
  for (const char* name :
       {"rootfs.tar", "rootfs.tar.gz", "rootfs.tar.zst", "oci.tar", "oci.tar.gz", "docker.tar"}) {
    const auto record = ImportFile(folder_ / name, std::string("test/") + name[0]);
    ASSERT_TRUE(record) << name << ": " << record.error().ToString();
    EXPECT_EQ(RunScript("e2fsck -fn " + record->rootfs.string()).status, 0) << name;
    trees[name] = testing::ListExt4(record->rootfs);
    EXPECT_EQ(testing::Differences(trees["rootfs.tar"], trees[name]), "") << name;
    EXPECT_EQ(record->config.user, name[0] == 'r' ? "" : "nobody") << name;
  }
  EXPECT_GT(trees["rootfs.tar"].size(), 5u);
  // rootfs.tar, its two packed forms; oci.tar and its packed form; docker.tar: three images.
  EXPECT_EQ(store_->List()->size(), 3u);
  EXPECT_EQ(store_->Get("test/o")->config.user, "nobody");
}

TEST_F(ImportTest, DigestsAreThoseOfSkopeo) {
  for (const auto& [file, source] :
       {std::pair("oci.tar", "oci-archive"), std::pair("docker.tar", "docker-archive")}) {
    const auto said = RunScript("cd " + folder_.path() +
                                " && skopeo inspect --format '{{.Digest}}' " + source + ":" + file);
    EXPECT_EQ(Verdict(folder_ / file) + "\n", said.output);
    std::string wrong = "test/image@sha256:" + std::string(64, 'a');
    EXPECT_TRUE(Verdict(folder_ / file, wrong).starts_with("invalid_argument: "))
        << Verdict(folder_ / file, wrong);
    EXPECT_EQ(Verdict(folder_ / file, "test/image@" + said.output.substr(0, 71)) + "\n",
              said.output);
  }
}

TEST_F(ImportTest, ARootfsTakesTheDigestItIsGiven) {
  const std::string digest = "sha256:" + std::string(64, 'b');
  EXPECT_EQ(Verdict(folder_ / "rootfs.tar", "host.example/name@" + digest), digest);
  EXPECT_EQ(store_->Get(digest)->Pinned(), "host.example/name@" + digest);
  EXPECT_NE(store_->Get(digest)->manifest_digest, digest);
}

TEST_F(ImportTest, FromAPipe) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  const std::string bytes = *os::ReadFile(folder_ / "rootfs.tar.gz", 1 << 30);
  std::thread writer([&] {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(fds[1], bytes.data() + done, bytes.size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    ::close(fds[1]);
  });
  const auto piped = Import(*store_, *ImageRef::Parse("pipe", kLocalRegistry), fds[0], {}, {});
  writer.join();
  ::close(fds[0]);
  ASSERT_THAT(piped, IsOk());
  EXPECT_EQ(piped->digest, Verdict(folder_ / "rootfs.tar"));
  EXPECT_EQ(piped->refs.front(), "localhost/pipe:latest");
}

TEST_F(ImportTest, DamageIsRefusedAndLeavesNothing) {
  const auto cut = [&](const std::string& name, size_t bytes) {
    const std::string content = *os::ReadFile(folder_ / name, 1 << 30);
    std::ofstream(folder_ / "cut", std::ios::binary | std::ios::trunc)
        << content.substr(0, content.size() - bytes);
    return Verdict(folder_ / "cut");
  };
  for (const char* name :
       {"rootfs.tar", "rootfs.tar.gz", "rootfs.tar.zst", "oci.tar", "oci.tar.gz", "docker.tar"}) {
    EXPECT_TRUE(cut(name, 100'000).starts_with("data_corrupt: importing "))
        << name << ": " << cut(name, 100'000);
  }
  // Cut at the end of a file: only the missing end mark tells.
  EXPECT_TRUE(cut("rootfs.tar", 10240 - 512).starts_with("data_corrupt"))
      << cut("rootfs.tar", 10240 - 512);
  // A layer's byte changed inside archives.
  for (const char* name : {"oci.tar", "docker.tar"}) {
    std::string content = *os::ReadFile(folder_ / name, 1 << 30);
    content[content.size() / 2] ^= 1;
    std::ofstream(folder_ / "flipped", std::ios::binary | std::ios::trunc) << content;
    EXPECT_TRUE(Verdict(folder_ / "flipped").starts_with("data_corrupt: "))
        << Verdict(folder_ / "flipped");
  }
  std::ofstream(folder_ / "text") << "this is no tar\n";
  std::ofstream(folder_ / "empty") << "";
  EXPECT_TRUE(Verdict(folder_ / "text").starts_with("data_corrupt: ")) << Verdict(folder_ / "text");
  EXPECT_TRUE(Verdict(folder_ / "empty").starts_with("data_corrupt: "))
      << Verdict(folder_ / "empty");
  std::ofstream(folder_ / "evil", std::ios::binary) << TarBuilder().File("../evil", "x").Finish();
  EXPECT_TRUE(Verdict(folder_ / "evil").starts_with("data_corrupt: ")) << Verdict(folder_ / "evil");
  EXPECT_TRUE(LeftNothing());
}

TEST_F(ImportTest, AnArchiveOfSeveralImages) {
  const auto made = RunScript("cd " + folder_.path() + R"(
umoci tag --image oci:latest other; umoci config --image oci:other --config.user root
tar -C oci -cf two.tar . )");
  ASSERT_EQ(made.status, 0) << made.output;
  EXPECT_EQ(store_->List()->size(), 0u);
  EXPECT_EQ(ImportFile(folder_ / "two.tar", "test/image:other")->config.user, "root");
  EXPECT_EQ(ImportFile(folder_ / "two.tar", "test/image")->config.user, "nobody");
  EXPECT_TRUE(Verdict(folder_ / "two.tar", "test/image:third").starts_with("invalid_argument: "))
      << Verdict(folder_ / "two.tar", "test/image:third");
}

}  // namespace
}  // namespace cleanroom::image
