// What goes wrong on the way: lines that break, disks that are full, layers that lie elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/sha256/digest.h"
#include "base/testing/result_matchers.h"
#include "image/pull.h"
#include "tests/support/command.h"
#include "tests/support/docker_registry.h"
#include "tests/support/file_server.h"
#include "tests/support/file_tree.h"
#include "tests/support/tar_builder.h"

namespace cleanroom::image {
namespace {

using testing::Background;
using testing::DockerRegistry;
using ::testing::HasSubstr;
using testing::RunScript;
using ::testing::StartsWith;
using testing::TarBuilder;
using testing::TestFolder;

constexpr const char* kProxy = CLEANROOM_SOURCE "/tests/support/cutting_proxy.py";

class DownloadTest : public ::testing::Test {
 protected:
  static constexpr int kLayerMiB = 5;

  // An image of three layers of bytes that do not compress.
  std::string PushLarge(DockerRegistry& registry) {
    const auto made = RunScript(
        "cd " + folder_.path() +
        " && umoci init --layout large && umoci new --image large:v && for i in 1 2 3; do head "
        "-c " +
        std::to_string(kLayerMiB) +
        "M /dev/urandom >data$i; tar -cf data.tar data$i; umoci raw add-layer --image large:v "
        "data.tar; done");
    EXPECT_EQ(made.status, 0) << made.output;
    return registry.Push("oci:" + (folder_ / "large:v"), "large:v");
  }
  std::unique_ptr<Background> Proxy(const DockerRegistry& registry, const std::string& mode,
                                    uint64_t bytes) {
    return std::make_unique<Background>(
        std::vector<std::string>{"python3", kProxy, registry.host(), mode, std::to_string(bytes)},
        "listening on ");
  }
  Result<ImageRecord> PullRef(const std::string& ref) {
    const auto store = ImageStore::Open(folder_ / "cache");
    if (!store) return Err(store.error());
    return Pull(*store, options_, *ImageRef::Parse(ref), {});
  }
  std::string LeftBehind() {
    return RunScript("find " + (folder_ / "cache") + " -mindepth 2").output;
  }

  TestFolder folder_;
  registry::RegistryOptions options_{.retry_delay = std::chrono::milliseconds(1)};
};

struct BlobRequest {
  std::string path;
  uint64_t start = 0, sent = 0;
};

std::vector<BlobRequest> RequestsOf(const Background& proxy) {
  std::istringstream log(RunScript("curl -fsS http://" + proxy.found() + "/log").output);
  std::vector<BlobRequest> out;
  std::string range;
  for (BlobRequest one; log >> one.path >> range >> one.sent; out.push_back(one))
    one.start = range == "-" ? 0 : std::stoull(range.substr(std::string("bytes=").size()));
  return out;
}

TEST_F(DownloadTest, ALineThatBreaksAgainAndAgainGoesOnWhereItBroke) {
  DockerRegistry registry;
  PushLarge(registry);
  // More cuts than attempts, each after some progress.
  const uint64_t cut = 1'100'000;
  const auto proxy = Proxy(registry, "cut", cut);
  const auto record = PullRef(proxy->found() + "/large:v");
  ASSERT_THAT(record, IsOk());
  uint64_t size = 0, sent = 0;
  std::map<std::string, uint64_t> next;
  for (const registry::Descriptor& layer : record->layers) size += layer.size;
  for (const BlobRequest& one : RequestsOf(*proxy)) {
    if (one.sent < 10'000 && one.start == 0) continue;  // the config
    EXPECT_EQ(one.start, next[one.path]) << one.path;
    next[one.path] += one.sent;
    sent += one.sent;
  }
  EXPECT_EQ(sent, size);
  const auto tree = testing::ListExt4(record->rootfs);
  EXPECT_EQ(tree.size(), 4u);
  for (const char* name : {"data1", "data2", "data3"}) {
    const auto host = testing::ListFolder(folder_.path());
    EXPECT_EQ(tree.at(name).substr(tree.at(name).find("size=")),
              host.at(name).substr(host.at(name).find("size=")));
  }
}

TEST_F(DownloadTest, ALineThatBringsNothingIsGivenUp) {
  DockerRegistry registry;
  PushLarge(registry);
  const auto proxy = Proxy(registry, "cut", 10'000);  // enough for the config
  const auto record = PullRef(proxy->found() + "/large:v");
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code(), ErrorCode::kUnavailable) << record.error().ToString();
  EXPECT_EQ(LeftBehind(), "");
}

TEST_F(DownloadTest, TwoPullsUnderDifferentNamesDownloadOnce) {
  DockerRegistry registry;
  const std::string digest = PushLarge(registry);
  const auto proxy = Proxy(registry, "cut", 1u << 30);
  std::vector<std::string> verdicts(3);
  std::vector<std::thread> pulls;
  const std::vector<std::string> refs = {"/large:v", "/large@" + digest, "/large:v@" + digest};
  pulls.reserve(refs.size());
  for (size_t i = 0; i < refs.size(); ++i) {
    pulls.emplace_back([&, i] {
      const auto record = PullRef(proxy->found() + refs[i]);
      verdicts[i] = record ? record->digest : record.error().ToString();
    });
  }
  for (std::thread& pull : pulls) pull.join();
  for (const std::string& verdict : verdicts) EXPECT_EQ(verdict, digest);
  std::map<std::string, int> requests;
  for (const BlobRequest& one : RequestsOf(*proxy)) ++requests[one.path];
  EXPECT_EQ(requests.size(), 4u);
  for (const auto& [path, count] : requests) EXPECT_EQ(count, 1) << path;
}

// Runs itself once more in a mount namespace of its own, where the disk can be made small.
TEST_F(DownloadTest, AFullDiskLeavesNothing) {
  if (std::getenv("CLEANROOM_TEST_SMALL_DISK") == nullptr) {
    const auto inner = RunScript(
        "exe=$(readlink /proc/$PPID/exe)\nCLEANROOM_TEST_SMALL_DISK=1 unshare --map-root-user "
        "--mount \"$exe\" --gtest_filter=DownloadTest.AFullDiskLeavesNothing --gtest_brief=1");
    EXPECT_EQ(inner.status, 0) << inner.output;
    EXPECT_THAT(inner.output, HasSubstr("[  PASSED  ] 1 test."));
    return;
  }
  DockerRegistry registry;
  PushLarge(registry);
  const std::string cache = folder_ / "cache";
  std::filesystem::create_directory(cache);
  int failed = 0, worked = 0;
  // Spools of the layers, and the file system that they become: what comes first is full first.
  for (int kib = 256; kib <= 2 * 3 * kLayerMiB * 1024 + 4096 && worked < 2; kib += 1500) {
    const auto mounted =
        RunScript("mount -t tmpfs -o size=" + std::to_string(kib) + "k none " + cache);
    ASSERT_EQ(mounted.status, 0) << mounted.output;
    const auto record = PullRef(registry.host() + "/large:v");
    if (record) {
      ++worked;
      EXPECT_EQ(RunScript("e2fsck -fn " + record->rootfs.string()).status, 0);
      EXPECT_TRUE(ImageStore::Open(cache)->Remove(record->digest, {}, {}));
    } else {
      ++failed;
      EXPECT_EQ(record.error().code(), ErrorCode::kResourceExhausted)
          << kib << ": " << record.error().ToString();
      EXPECT_THAT(record.error().message(), HasSubstr("No space left on device"));
    }
    EXPECT_EQ(LeftBehind(), "") << kib;
    EXPECT_EQ(RunScript("umount " + cache).status, 0);
  }
  EXPECT_GT(failed, 5);
  EXPECT_EQ(worked, 2);
}

// A registry of plain files, for what no registry takes: v2/REPOSITORY/manifests|blobs/NAME.
class FileRegistryTest : public DownloadTest {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "www/v2/r/manifests");
    std::filesystem::create_directories(folder_ / "www/v2/r/blobs");
    server_.emplace(folder_ / "www");
  }
  std::string Blob(const std::string& bytes) {
    const std::string digest = DigestOf(bytes);
    std::ofstream(folder_ / ("www/v2/r/blobs/" + digest)) << bytes;
    return digest;
  }
  static std::string Describe(const std::string& type, const std::string& digest, uint64_t size,
                              const std::string& more = {}) {
    return R"({"mediaType":")" + type + R"(","digest":")" + digest + R"(","size":)" +
           std::to_string(size) + more + "}";
  }
  // An image of one layer with the descriptor's rest `more`.
  std::string Try(const std::string& layer, const std::string& type, const std::string& more) {
    const std::string config = R"({"architecture":"amd64","os":"linux","rootfs":{"diff_ids":[")" +
                               DigestOf(layer) + "\"]}}";
    std::ofstream(folder_ / "www/v2/r/manifests/v")
        << R"({"schemaVersion":2,"config":)"
        << Describe("application/vnd.oci.image.config.v1+json", Blob(config), config.size())
        << R"(,"layers":[)" << Describe(type, DigestOf(layer), layer.size(), more) << "]}";
    const auto record = PullRef(server_->host() + "/r:v");
    if (!record) return record.error().ToString();
    EXPECT_TRUE(ImageStore::Open(folder_ / "cache")->Remove(record->digest, {}, {}));
    return "ok";
  }
  std::optional<testing::FileServer> server_;
};

TEST_F(FileRegistryTest, ForeignLayersComeFromWhereTheyLie) {
  const std::string layer = TarBuilder().File("hello", "world").Finish();
  const std::string foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
  const std::string docker = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  std::ofstream(folder_ / "www/layer") << layer;
  std::ofstream(folder_ / "www/other") << std::string(layer.size(), 'x');
  const auto urls = [](const std::string& list) { return ",\"urls\":[" + list + "]"; };
  const auto here = [this](const std::string& name) {
    return "\"http://" + server_->host() + "/" + name + "\"";
  };
  for (const std::string& type : {foreign, docker}) {
    EXPECT_EQ(Try(layer, type, urls(here("layer"))), "ok");
    EXPECT_EQ(Try(layer, type, urls(here("nothing") + "," + here("layer"))), "ok");
  }
  EXPECT_THAT(Try(layer, foreign, urls(here("other"))), StartsWith("data_corrupt: "));
  EXPECT_THAT(Try(layer, foreign, urls(here("nothing"))),
              HasSubstr("manifest names answers with status 404"));
  EXPECT_THAT(Try(layer, foreign, urls("\"http://layers.invalid/layer\"")),
              StartsWith("failed_precondition: "));
  EXPECT_THAT(Try(layer, foreign, urls("\"file:///etc/passwd\"")),
              StartsWith("failed_precondition: "));
  EXPECT_THAT(Try(layer, foreign, ""), StartsWith("not_found: "));
  // An ordinary layer has no other addresses.
  EXPECT_THAT(Try(layer, "application/vnd.oci.image.layer.v1.tar", urls(here("layer"))),
              StartsWith("not_found: "));
  // The registry has it after all.
  Blob(layer);
  EXPECT_EQ(Try(layer, foreign, urls(here("other"))), "ok");
  // No bytes at all are a layer without entries.
  Blob("");
  EXPECT_EQ(Try("", "application/vnd.oci.image.layer.v1.tar", ""), "ok");
}

}  // namespace
}  // namespace cleanroom::image
