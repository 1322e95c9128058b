// Storage over real stores in folders of its own, and sandboxes whose machine is not
// (testing/fake_warden.cc).
#include "server/storage/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/scratch.h"
#include "server/storage/file_storage.h"
#include "server/storage/image_storage.h"
#include "server/storage/template_storage.h"
#include "server/testing/control_plane_world.h"
#include "server/warm/warm_up.h"

namespace cleanroom::server {
namespace {

using std::chrono::hours;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using What = PruneRules::What;

constexpr char kMachine[] = "this machine";

std::string Digest(char fill) { return "sha256:" + std::string(64, fill); }

class StorageTest : public testing::Test {
 protected:
  StorageTest() {
    plane_.settings.cache_dir = cache_;
    machine_.emplace();
    machine_->identity = kMachine;
    machine_->kernel_path = cache_ + "/kernels/new/vmlinux";
    machine_->initrd_path = cache_ + "/initramfs/new.cpio";
  }
  ~StorageTest() override { plane_.Run(Finish()); }
  Awaitable<void> Finish() {
    co_await spares_.Shutdown();
    co_await templates_.Shutdown();
    co_await images_.Shutdown();
  }

  void PutFile(const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    ASSERT_TRUE(os::WriteFileAtomic(path, std::string(10'000, 'x')));
  }
  void PutImage(char fill) {
    const auto temp = image_store_.MakeTemp();
    ASSERT_TRUE(temp);
    ASSERT_TRUE(os::WriteFileAtomic(temp->path() / "rootfs.ext4", "a file system"));
    image::ImageRecord record;
    record.digest = Digest(fill);
    record.refs = {"registry.example/" + std::string(1, fill)};
    record.pulled_at = std::chrono::system_clock::to_time_t(plane_.now);
    const auto committed = image_store_.Commit(record, *temp);
    ASSERT_THAT(committed, IsOk());
  }
  vmm::TemplateInputs Inputs(char image, int64_t memory_mib, const std::string& file) {
    return {.image_digest = Digest(image),
            .image_file = file,
            .machine = kMachine,
            .memory_mib = memory_mib};
  }
  std::string PutTemplate(char image, int64_t memory_mib = 256,
                          const std::string& file = "of some time") {
    const std::string from = folder_.path() + "/draft";
    for (const char* name : {"memory", "state", "disk.img"}) PutFile(from + "/" + name);
    const auto made =
        vmm::TemplateStore(plane_.layout.Templates()).Add(Inputs(image, memory_mib, file), from);
    EXPECT_THAT(made, IsOk());
    return made->key;
  }
  SandboxId Launch(char image) {
    LaunchPlan plan = plane_.Plan();
    plan.record.image_digest = Digest(image);
    auto sandbox = plane_.sandboxes->Create(std::move(plan));
    EXPECT_TRUE(sandbox);
    plane_.Run(plane_.AwaitCreated(*sandbox));
    // What HostResources holds for it.
    use_ = images_.Use(Digest(image));
    return (*sandbox)->id();
  }
  void End(const SandboxId& id) {
    plane_.Run(plane_.DoTerminate(id));
    use_.reset();
  }

  Awaitable<void> DoFind(PruneRules rules, std::set<std::string>* names) {
    auto items = co_await storage_.Find(rules);
    EXPECT_THAT(items, IsOk());
    if (!items) co_return;
    for (const StoredItem& item : *items) names->insert(item.id);
  }
  std::set<std::string> Find(PruneRules rules) {
    std::set<std::string> names;
    plane_.Run(DoFind(rules, &names));
    return names;
  }
  Awaitable<void> DoPrune(PruneRules rules, std::set<std::string>* names) {
    auto pruned = co_await storage_.Prune(rules);
    EXPECT_THAT(pruned, IsOk());
    if (!pruned) co_return;
    EXPECT_THAT(pruned->failures, IsEmpty());
    for (const StoredItem& item : pruned->items) {
      names->insert(item.id);
      EXPECT_FALSE(std::filesystem::exists(item.path)) << item.path;
    }
  }
  std::set<std::string> Prune(PruneRules rules) {
    std::set<std::string> names;
    plane_.Run(DoPrune(rules, &names));
    return names;
  }
  Awaitable<void> DoRemove(std::string ref, Result<image::ImageRecord>* out) {
    *out = co_await image_storage_.RemoveImage(ref);
  }
  Result<image::ImageRecord> RemoveImage(const std::string& ref) {
    Result<image::ImageRecord> out;
    plane_.Run(DoRemove(ref, &out));
    return out;
  }
  bool HasTemplate(const std::string& key) {
    return std::filesystem::exists(plane_.layout.Templates() + "/" + key);
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  const std::string cache_ = folder_.path() + "/cache";
  Plane plane_{folder_.path() + "/state"};
  std::optional<LaunchMachine> machine_;
  std::shared_ptr<void> use_;
  image::ImageStore image_store_ = std::move(*image::ImageStore::Open(cache_));
  Images images_{plane_.io.get_executor(), image_store_, {}};
  Templates templates_{plane_.io.get_executor(), plane_.resources, plane_.pool,
                       plane_.settings,          plane_.layout,    [this] { return plane_.now; }};
  Spares spares_{plane_.io.get_executor(),
                 templates_,
                 plane_.resources,
                 plane_.pool,
                 plane_.settings,
                 plane_.layout,
                 [this] { return plane_.now; }};
  const WallClock clock_ = [this] { return plane_.now; };
  const BootsWith boots_with_ = [this] { return machine_; };
  ImageStorage image_storage_{images_, templates_, spares_, *plane_.sandboxes, plane_.pool};
  TemplateStorage template_storage_{templates_,  spares_,       *plane_.sandboxes,
                                    plane_.pool, plane_.layout, boots_with_};
  KernelStorage kernel_storage_{plane_.pool, clock_, cache_, boots_with_};
  RecordStorage record_storage_{plane_.pool, clock_, folder_.path() + "/state", plane_.layout};
  CacheStorage cache_storage_{plane_.pool, clock_, cache_, {"images", "kernels", "initramfs"}};
  Storage storage_{
      {&image_storage_, &template_storage_, &kernel_storage_, &record_storage_, &cache_storage_},
      clock_};
};

TEST_F(StorageTest, PrunesTemplatesThatNoSandboxNeeds) {
  PutImage('a');
  PutImage('b');
  const std::string needed = PutTemplate('a');
  const std::string other_shape = PutTemplate('a', 512);
  const std::string other_image = PutTemplate('b');
  const SandboxId id = Launch('a');

  EXPECT_THAT(Find({}), UnorderedElementsAre(other_shape, other_image));
  EXPECT_TRUE(HasTemplate(other_shape));  // looking removes nothing
  EXPECT_THAT(Prune({}), UnorderedElementsAre(other_shape, other_image));
  EXPECT_TRUE(HasTemplate(needed));
  EXPECT_THAT(Prune({}), IsEmpty());
  End(id);
  EXPECT_THAT(Prune({}), ElementsAre(needed));
}

TEST_F(StorageTest, KeepsEveryTemplateWhileTheMachineIsNotKnown) {
  PutTemplate('a');
  PutFile(cache_ + "/kernels/old/vmlinux");
  machine_.reset();
  EXPECT_THAT(Prune({.what = What::kAll}), IsEmpty());
}

TEST_F(StorageTest, AgeIsCountedFromTheLastUse) {
  PutImage('a');
  const std::string key = PutTemplate('a');
  const PruneRules day = {.what = What::kAll, .older_than = hours(24)};
  plane_.now += hours(23);
  EXPECT_THAT(Prune(day), IsEmpty());
  plane_.now += hours(2);
  EXPECT_THAT(Prune(day), UnorderedElementsAre(key, Digest('a')));
}

TEST_F(StorageTest, AnImageIsAsOldAsItsLastSandbox) {
  PutImage('a');
  PutImage('b');
  plane_.now += hours(30);
  End(Launch('a'));
  plane_.now += hours(1);
  EXPECT_THAT(Prune({.what = What::kAll, .older_than = hours(24)}), ElementsAre(Digest('b')));
}

TEST_F(StorageTest, AllTakesImagesAndCachesThatNobodyUses) {
  PutImage('a');
  PutImage('b');
  PutFile(cache_ + "/kernels/new/vmlinux");
  PutFile(cache_ + "/kernels/old/vmlinux");
  PutFile(cache_ + "/initramfs/new.cpio");
  PutFile(cache_ + "/initramfs/old.cpio");
  PutFile(cache_ + "/empty-v1-1.ext4");
  PutFile(plane_.layout.Audit() + "/2026-11-22.jsonl");
  PutFile(plane_.layout.KeptOutput(ExecutionId("01aaa")));
  const SandboxId id = Launch('a');

  EXPECT_THAT(Prune({}), IsEmpty());
  EXPECT_THAT(
      Prune({.what = What::kAll}),
      UnorderedElementsAre(Digest('b'), "kernels/old", "initramfs/old.cpio", "empty-v1-1.ext4"));
  EXPECT_TRUE(std::filesystem::exists(machine_->kernel_path));
  EXPECT_TRUE(std::filesystem::exists(machine_->initrd_path));
  EXPECT_TRUE(std::filesystem::exists(plane_.layout.Audit() + "/2026-11-22.jsonl"));
  EXPECT_TRUE(std::filesystem::exists(plane_.layout.KeptOutput(ExecutionId("01aaa"))));
  EXPECT_TRUE(std::filesystem::exists(plane_.layout.Sandbox(id)));
  EXPECT_TRUE(image_store_.Find(Digest('a')));
  EXPECT_TRUE(plane_.sandboxes->FindLive(id)->ready());
  End(id);
}

TEST_F(StorageTest, AnImageGoesWithItsTemplates) {
  PutImage('a');
  PutImage('b');
  const std::string gone = PutTemplate('a');
  const std::string kept = PutTemplate('b');
  const auto removed = RemoveImage("registry.example/a@" + Digest('a'));
  ASSERT_THAT(removed, IsOk());
  EXPECT_EQ(removed->digest, Digest('a'));
  EXPECT_FALSE(HasTemplate(gone));
  EXPECT_TRUE(HasTemplate(kept));
  EXPECT_EQ(RemoveImage(Digest('a')).error().code(), ErrorCode::kNotFound);
}

TEST_F(StorageTest, AnImageInUseStaysWithItsTemplates) {
  PutImage('a');
  const std::string key = PutTemplate('a', 512);
  const SandboxId id = Launch('a');
  EXPECT_EQ(RemoveImage(Digest('a')).error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(HasTemplate(key));
  End(id);
  EXPECT_TRUE(RemoveImage(Digest('a')));
}

class Launches : public NoWarmStart {
 public:
  void Launched(const MachineShape& shape) override { shapes.push_back(shape); }
  std::vector<MachineShape> shapes;
};

// FakeResources with a machine that templates can be made for.
class WarmResources : public FakeResources {
 public:
  Awaitable<Result<LaunchMachine>> Machine(std::string, ProgressFn) override {
    LaunchMachine machine;
    machine.identity = kMachine;
    co_return machine;
  }
};

Awaitable<void> DoWarm(WarmUp& warm_up, LaunchPlan plan, Result<WarmedUp>* out) {
  const ProgressFn progress = [](ProgressUpdate) {};
  auto warmed = co_await warm_up.Run(std::move(plan), progress);
  *out = std::move(warmed);
}

TEST_F(StorageTest, WarmingUpFindsTheTemplateAndTellsThePool) {
  // Its image is no file here.
  const std::string key = PutTemplate('a', 256, "");
  WarmResources resources;
  Launches launches;
  WarmUp warm_up(resources, templates_, launches);
  LaunchPlan plan = plane_.Plan();
  plan.record.image_digest = Digest('a');
  Result<WarmedUp> warmed;
  plane_.Run(DoWarm(warm_up, plan, &warmed));
  ASSERT_THAT(warmed, IsOk());
  EXPECT_EQ(warmed->key, key);
  EXPECT_GE(warmed->disk_bytes, 30'000U);
  ASSERT_EQ(launches.shapes.size(), 1U);
  EXPECT_EQ(TemplateKey(InputsOf(launches.shapes[0])), key);
}

TEST_F(StorageTest, WarmingUpAsksForRoomBeforeItBoots) {
  WarmResources resources;
  resources.room.memory_mib = 100;
  Launches launches;
  WarmUp warm_up(resources, templates_, launches);
  Result<WarmedUp> warmed;
  plane_.Run(DoWarm(warm_up, plane_.Plan(), &warmed));
  ASSERT_FALSE(warmed);
  EXPECT_EQ(warmed.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_THAT(launches.shapes, IsEmpty());
}

}  // namespace
}  // namespace cleanroom::server
