// Pulls from a real registry of images that real tools made, and compares with what umoci unpacks.
#include "image/pull.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/testing/result_matchers.h"
#include "image/import.h"
#include "tests/support/command.h"
#include "tests/support/docker_registry.h"
#include "tests/support/file_tree.h"

namespace cleanroom::image {
namespace {

using ::testing::HasSubstr;

using testing::DockerRegistry;
using testing::RunScript;
using testing::TestFolder;

// An image of three layers, two of them by `umoci repack` (which makes the whiteouts) and one by
// tar with an opaque whiteout. $1: folder. Leaves the OCI layout `oci` with the tag v3, and
// `unpacked/rootfs`.
constexpr const char* kMakeImage = R"SH(
cd "$1"
umoci init --layout oci
umoci new --image oci:v0
umoci unpack --image oci:v0 bundle
r=bundle/rootfs
mkdir -p $r/bin $r/etc/deep/er $r/data $r/gone $r/swap
cp /bin/busybox $r/bin/busybox
for name in sh ls cat; do ln -s busybox $r/bin/$name; done
ln $r/bin/busybox $r/bin/hardlinked
chmod 4755 $r/bin/hardlinked
echo one >$r/etc/one; echo two >$r/etc/deep/two; seq 200000 >$r/data/numbers
echo bye >$r/gone/file; echo swap >$r/swap/inside
truncate -s 1M $r/data/holes
: >$r/data/empty
mknod $r/data/null c 1 3; mknod $r/data/block b 259 70000; mkfifo $r/data/pipe
chown 1000:2000 $r/etc/one; chown -h 5:6 $r/bin/sh; chmod 1777 $r/data
cp /bin/true $r/bin/capable; setcap cap_net_raw+ep $r/bin/capable
python3 -c "import os; os.setxattr('$r/etc/one', 'user.note', b'value\0binary')"
long=$(printf 'n%.0s' $(seq 250)); echo long >$r/data/$long; ln -s "$long/$long/$long" $r/data/longlink
touch -d '2001-02-03 04:05:06.789012345Z' $r/etc/one; touch -d '2040-01-01Z' $r/etc/deep/two
umoci repack --refresh-bundle --image oci:v1 bundle
rm -rf $r/gone $r/swap; ln -s etc $r/swap; rm $r/data/numbers; mkdir $r/data/numbers; echo now >$r/data/numbers/folder
echo changed >$r/etc/deep/two; ln $r/bin/busybox $r/bin/again; chmod 700 $r/etc
umoci repack --refresh-bundle --image oci:v2 bundle
mkdir -p layer/etc/deep; echo fresh >layer/etc/deep/fresh; : >layer/etc/deep/.wh..wh..opq
tar -C layer --format=pax -cf layer.tar etc/deep/.wh..wh..opq etc/deep/fresh
umoci raw add-layer --image oci:v2 --tag v3 layer.tar
umoci config --image oci:v3 --config.user 1000:1000 --config.env A=B --config.workingdir /data --config.cmd /bin/sh
umoci unpack --image oci:v3 unpacked
)SH";

class PullTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() != 0) return;
    registry = new DockerRegistry();
    made = new TestFolder();
    std::ofstream(*made / "make") << kMakeImage;
    const auto result = RunScript("bash -euo pipefail " + (*made / "make") + " " + made->path());
    ASSERT_EQ(result.status, 0) << result.output;
    digest = registry->Push("oci:" + (*made / "oci:v3"), "test/image:v3");
  }
  static void TearDownTestSuite() {
    delete registry;
    delete made;
  }
  void SetUp() override {
    if (registry == nullptr)
      GTEST_SKIP() << "making device nodes and owners for the comparison needs root";
    auto opened = ImageStore::Open(folder_ / "cache");
    ASSERT_THAT(opened, IsOk());
    store_.emplace(std::move(*opened));
  }

  ImageRef Ref(const std::string& rest) {
    return *ImageRef::Parse(registry->host() + "/test/image" + rest);
  }
  Result<ImageRecord> PullRef(const ImageRef& ref, const Control& control = {}) {
    return Pull(*store_, options_, ref, control);
  }
  // Nothing but the lock and image folders, all of them empty.
  bool LeftNothing() {
    return RunScript("find " + (folder_ / "cache") + " -mindepth 2").output.empty();
  }

  static DockerRegistry* registry;
  static TestFolder* made;
  static std::string digest;
  TestFolder folder_;
  std::optional<ImageStore> store_;
  registry::RegistryOptions options_{.retry_delay = std::chrono::milliseconds(1)};
};
DockerRegistry* PullTest::registry = nullptr;
TestFolder* PullTest::made = nullptr;
std::string PullTest::digest;

TEST_F(PullTest, IsWhatUmociUnpacks) {
  std::vector<Progress> seen;
  const auto record = PullRef(
      Ref(":v3"), {.progress = [&seen](const Progress& p) { seen.push_back(p); }, .stop = {}});
  ASSERT_THAT(record, IsOk());
  EXPECT_EQ(record->digest, digest);
  EXPECT_EQ(record->config.user, "1000:1000");
  EXPECT_EQ(record->config.workdir, "/data");
  EXPECT_EQ(record->config.cmd, std::vector<std::string>{"/bin/sh"});
  EXPECT_EQ(record->layers.size(), 3u);
  EXPECT_EQ(record->Pinned(), Ref(":v3").Pinned(digest));
  const auto check = RunScript("e2fsck -fn " + record->rootfs.string());
  EXPECT_EQ(check.status, 0) << check.output;
  testing::FileTree expected = testing::ListFolder(*made / "unpacked/rootfs");
  testing::FileTree actual = testing::ListExt4(record->rootfs);
  // The root has no entry in these layers; umoci leaves on it what it had on the host.
  expected.erase("");
  actual.erase("");
  EXPECT_GT(expected.size(), 20u);
  EXPECT_EQ(testing::Differences(expected, actual), "");
  EXPECT_FALSE(seen.empty());
  EXPECT_EQ(seen.front().phase, Phase::kResolve);
  EXPECT_EQ(seen.back().phase, Phase::kFinish);
}

TEST_F(PullTest, TheKernelMountsIt) {
  const auto record = PullRef(Ref(":v3"));
  ASSERT_THAT(record, IsOk());
  const std::string mount = folder_ / "mnt";
  std::filesystem::create_directory(mount);
  if (RunScript("mount -o loop,ro " + record->rootfs.string() + " " + mount).status != 0) {
    GTEST_SKIP() << "no loop mounts here";
  }
  testing::FileTree expected = testing::ListFolder(*made / "unpacked/rootfs");
  testing::FileTree actual = testing::ListFolder(mount);
  EXPECT_EQ(RunScript("umount " + mount).status, 0);
  expected.erase("");
  actual.erase("");
  EXPECT_EQ(testing::Differences(expected, actual), "");
}

TEST_F(PullTest, ResolveAndPinnedPull) {
  const auto resolved = Resolve(options_, Ref(":v3"), {});
  ASSERT_THAT(resolved, IsOk());
  EXPECT_EQ(*resolved, digest);
  ASSERT_TRUE(PullRef(Ref("@" + digest)));
  // Present now: not asked for again, so a registry that is gone does no harm.
  ImageRef gone = Ref("@" + digest);
  gone.registry = "127.0.0.1:1";
  const auto again = PullRef(gone);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->refs.size(), 2u);
  gone.digest = "sha256:" + std::string(64, '0');
  const auto refused = PullRef(gone);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(refused.error().subject(), (Subject{SubjectKind::kRegistry, "127.0.0.1:1"}));
  EXPECT_THAT(refused.error().remedy(), HasSubstr("://127.0.0.1:1/v2/"));
}

TEST_F(PullTest, WhatIsNotThereIsNotFound) {
  for (const std::string& rest : {std::string(":nope"), "@sha256:" + std::string(64, 'a')}) {
    const auto record = PullRef(Ref(rest));
    ASSERT_FALSE(record);
    EXPECT_EQ(record.error().code(), ErrorCode::kNotFound) << record.error().ToString();
    EXPECT_THAT(record.error().remedy(), HasSubstr("Check the reference"));
  }
  EXPECT_TRUE(LeftNothing());
}

TEST_F(PullTest, ZstdAndIndex) {
  // A registry of its own, and uncompressed layers, or skopeo finds the gzip ones good enough.
  DockerRegistry other;
  const std::string unpacked = "dir:" + (folder_ / "unpacked");
  const auto copied = RunScript("skopeo copy --quiet --insecure-policy --dest-decompress oci:" +
                                (*made / "oci:v3") + " " + unpacked);
  ASSERT_EQ(copied.status, 0) << copied.output;
  other.Push(unpacked, "test/image:zstd", "--dest-compress-format zstd --dest-compress-level 3");
  ImageRef ref = Ref(":zstd");
  ref.registry = other.host();
  const auto zstd = PullRef(ref);
  ASSERT_THAT(zstd, IsOk());
  EXPECT_TRUE(zstd->layers.front().media_type.ends_with("zstd")) << zstd->layers.front().media_type;
  const auto plain = PullRef(Ref(":v3"));
  ASSERT_TRUE(plain);
  EXPECT_NE(zstd->digest, plain->digest);
  EXPECT_EQ(testing::Differences(testing::ListExt4(plain->rootfs), testing::ListExt4(zstd->rootfs)),
            "");

  // An index of two platforms, of which one is ours.
  const std::string index = folder_ / "index.json";
  const auto put =
      RunScript("size=$(curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://" +
                registry->host() +
                "/v2/test/image/manifests/v3 | wc -c)\n"
                "for arch in amd64 arm64; do echo "
                "'{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"" +
                digest +
                "\",\"size\":'$size',\"platform\":{\"os\":\"linux\",\"architecture\":\"'$arch'\"}}'"
                "; done | paste -sd, >" +
                index +
                ".list\n"
                "echo "
                "'{\"schemaVersion\":2,\"mediaType\":\"application/"
                "vnd.oci.image.index.v1+json\",\"manifests\":['$(cat " +
                index + ".list)']}' >" + index +
                "\n"
                "curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' "
                "--data-binary @" +
                index + " http://" + registry->host() + "/v2/test/image/manifests/multi");
  ASSERT_EQ(put.status, 0) << put.output;
  const auto multi = PullRef(Ref(":multi"));
  ASSERT_THAT(multi, IsOk());
  EXPECT_NE(multi->digest, digest);
  EXPECT_EQ(multi->manifest_digest, digest);
}

TEST_F(PullTest, DamagedBlobsAreRefusedAndLeaveNothing) {
  const auto good = PullRef(Ref(":v3"));
  ASSERT_TRUE(good);
  ASSERT_TRUE(store_->Remove(digest, {}, {}));
  ASSERT_TRUE(LeftNothing());
  const registry::Descriptor layer = good->layers.front();
  const std::string blob = registry->BlobFile(layer.digest);
  const std::string bytes = *os::ReadFile(blob, 1 << 30);
  const auto attempt = [&](const std::string& content) {
    std::ofstream(blob, std::ios::binary | std::ios::trunc) << content;
    const auto record = PullRef(Ref(":v3"));
    EXPECT_TRUE(LeftNothing());
    std::ofstream(blob, std::ios::binary | std::ios::trunc) << bytes;
    return record ? "accepted" : record.error().ToString();
  };
  std::string flipped = bytes;
  flipped[bytes.size() / 2] ^= 1;
  for (const std::string& content :
       {flipped, bytes.substr(0, bytes.size() / 2), bytes + "more", std::string()}) {
    const std::string verdict = attempt(content);
    EXPECT_TRUE(verdict.starts_with("data_corrupt: ")) << verdict;
    EXPECT_NE(verdict.find(layer.digest), std::string::npos) << verdict;
  }
  const auto mended = PullRef(Ref(":v3"));
  EXPECT_THAT(mended, IsOk());
}

TEST_F(PullTest, CancellingLeavesNothing) {
  std::stop_source stop;
  const auto record = PullRef(Ref(":v3"), {.progress =
                                               [&stop](const Progress& p) {
                                                 if (p.phase == Phase::kUnpack) stop.request_stop();
                                               },
                                           .stop = stop.get_token()});
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code(), ErrorCode::kCanceled) << record.error().ToString();
  EXPECT_TRUE(LeftNothing());
}

TEST_F(PullTest, TwoAtOnceBuildOnce) {
  std::atomic<int> built = 0;
  const auto pull = [&] {
    const auto record =
        PullRef(Ref(":v3"),
                {.progress = [&built](const Progress& p) { built += p.phase == Phase::kFinish; },
                 .stop = {}});
    EXPECT_TRUE(record);
  };
  std::thread other(pull);
  pull();
  other.join();
  EXPECT_EQ(built, 1);
}

}  // namespace
}  // namespace cleanroom::image
