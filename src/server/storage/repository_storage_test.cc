// Over real stores of layers and mirrors, and sandboxes whose machine is not (testing/fake_warden.cc).
#include "server/storage/repository_storage.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/sha256/sha256.h"
#include "base/testing/result_matchers.h"
#include "git/mirror_files.h"
#include "os/file.h"
#include "server/testing/control_plane_world.h"

namespace cleanroom::server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using What = PruneRules::What;

class RepositoryStorageTest : public testing::Test {
 protected:
  static std::string Url(const std::string& name) { return "https://git.example/" + name; }
  std::string Identity(const std::string& name) const {
    return mirrors_.ParseUrl(Url(name))->identity();
  }
  std::string Key(const std::string& name) const { return git::MirrorStore::KeyOf(Identity(name)); }
  // As a fetch leaves it.
  void PutMirror(const std::string& name) {
    const std::string path = folder_.path() + "/state/mirrors/" + Key(name) + ".git";
    ASSERT_TRUE(os::MakeDirs(path));
    ASSERT_TRUE(os::WriteFileAtomic(path + "/packed-refs", std::string(10'000, 'x')));
    ASSERT_THAT(git::WriteRecord(path, {.url = Identity(name)}), IsOk());
  }
  // Its id, as items have it.
  std::string PutLayer(const char* kind, char fill, std::map<std::string, std::string> facts) {
    const layers::LayerId id{kind, std::string(64, fill)};
    const auto build = [&facts](const std::filesystem::path& folder) -> Result<layers::LayerNotes> {
      CR_TRY(os::WriteFileAtomic(folder / "layer.ext4", std::string(100'000, 'x')));
      return layers::LayerNotes{.of = "a layer", .facts = facts};
    };
    EXPECT_THAT(layers_.Make(id, build, {}), IsOk());
    return id.kind + "/" + id.key;
  }
  SandboxId Launch(const std::string& name, const std::string& commit,
                   const std::string& bundle = "") {
    LaunchPlan plan = plane_.Plan();
    plan.record.checkout.emplace();
    plan.record.checkout->remote_url = Url(name);
    plan.record.checkout->commit = commit;
    plan.record.checkout->bundle = bundle;
    plan.record.checkout->path = "/workspace";
    auto sandbox = plane_.sandboxes->Create(std::move(plan));
    EXPECT_TRUE(sandbox);
    plane_.Run(plane_.AwaitCreated(*sandbox));
    return (*sandbox)->id();
  }
  Awaitable<void> DoList(std::map<std::string, StoredItem>* out) {
    auto items = co_await storage_.List();
    EXPECT_THAT(items, IsOk());
    for (StoredItem& item : *items) (*out)[item.id] = item;
  }
  std::map<std::string, StoredItem> List() {
    std::map<std::string, StoredItem> items;
    plane_.Run(DoList(&items));
    return items;
  }
  Awaitable<void> DoPrune(PruneRules rules, std::vector<std::string>* ids) {
    auto pruned = co_await storage_.Prune(rules);
    EXPECT_THAT(pruned, IsOk());
    EXPECT_THAT(pruned->failures, IsEmpty());
    for (const StoredItem& item : pruned->items) {
      ids->push_back(item.id);
      EXPECT_FALSE(std::filesystem::exists(item.path)) << item.path;
    }
  }
  std::vector<std::string> Prune(PruneRules rules) {
    std::vector<std::string> ids;
    plane_.Run(DoPrune(rules, &ids));
    return ids;
  }
  Awaitable<void> DoRemove(StoredItem item, Result<void>* out) {
    *out = co_await layer_storage_.Remove(std::move(item));
  }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  Plane plane_{folder_.path() + "/state"};
  const WallClock clock_ = [this] { return plane_.now; };
  layers::LayerStore layers_ = std::move(*layers::LayerStore::Open(folder_.path() + "/cache"));
  git::MirrorStore mirrors_ =
      std::move(*git::MirrorStore::Open({.state_folder = folder_.path() + "/state"}));
  LayerStorage layer_storage_{layers_, mirrors_, *plane_.sandboxes, plane_.pool, clock_};
  MirrorStorage mirror_storage_{mirrors_, *plane_.sandboxes, plane_.pool};
  repository::BundleStore bundles_ =
      std::move(*repository::BundleStore::Open(folder_.path() + "/state/bundles"));
  BundleStorage bundle_storage_{bundles_, *plane_.sandboxes, plane_.pool, clock_};
  Storage storage_{{&layer_storage_, &mirror_storage_, &bundle_storage_}, clock_};
};

TEST_F(RepositoryStorageTest, TellsWhatThereIs) {
  PutMirror("r.git");
  const std::string tree = PutLayer("work-tree", 'a', {{"mirror", Key("r.git")}, {"commit", "1"}});
  const std::string objects = PutLayer("objects", 'b', {{"mirror", Key("r.git")}});
  const std::string other = PutLayer("image", 'c', {});
  plane_.now += hours(1);
  auto items = List();
  ASSERT_EQ(items.size(), 4U);
  EXPECT_EQ(items[tree].kind, "work-tree");
  EXPECT_EQ(items[tree].name, "a layer");
  EXPECT_GT(items[tree].bytes, 100'000U);
  EXPECT_GT(items[tree].used_at, 0);
  EXPECT_EQ(items[objects].kind, "objects");
  EXPECT_EQ(items[objects].name, "objects of " + Identity("r.git"));
  EXPECT_EQ(items[other].pruning, Pruning::kNever);
  const StoredItem& mirror = items[Identity("r.git")];
  EXPECT_EQ(mirror.kind, "mirror");
  EXPECT_GT(mirror.bytes, 10'000U);
  EXPECT_EQ(mirror.pruning, Pruning::kWithAll);
}

TEST_F(RepositoryStorageTest, LayersGoAfterAWhileAndMirrorsWhenAsked) {
  PutMirror("r.git");
  const std::string tree = PutLayer("work-tree", 'a', {{"mirror", Key("r.git")}, {"commit", "1"}});
  EXPECT_THAT(Prune({}), IsEmpty());
  EXPECT_THAT(Prune({.what = What::kAll}), ElementsAre(Identity("r.git")));  // just handed out
  PutMirror("r.git");
  plane_.now += hours(24);
  EXPECT_THAT(Prune({}), IsEmpty());
  plane_.now += hours(6 * 24);
  EXPECT_THAT(Prune({}), ElementsAre(tree));
  EXPECT_THAT(Prune({.what = What::kAll, .older_than = hours(24 * 8)}), IsEmpty());
  EXPECT_THAT(Prune({.what = What::kAll}), ElementsAre(Identity("r.git")));
}

TEST_F(RepositoryStorageTest, MirrorsGoAloneAndByRemote) {
  PutMirror("r.git");
  PutMirror("other.git");
  PutLayer("work-tree", 'a', {{"mirror", Key("r.git")}, {"commit", "1"}});
  plane_.now += hours(24);
  auto items = List();
  EXPECT_EQ(items["work-tree/" + std::string(64, 'a')].remote, Identity("r.git"));
  EXPECT_EQ(items[Identity("r.git")].remote, Identity("r.git"));
  EXPECT_THAT(Prune({.what = What::kMirrors, .remote = "https://git.example/none"}), IsEmpty());
  EXPECT_THAT(Prune({.what = What::kMirrors, .remote = Identity("other.git")}),
              ElementsAre(Identity("other.git")));
  EXPECT_THAT(Prune({.what = What::kMirrors}), ElementsAre(Identity("r.git")));
  EXPECT_EQ(List().size(), 1U);
}

TEST_F(RepositoryStorageTest, WhatASandboxHasStays) {
  PutMirror("r.git");
  PutMirror("other.git");
  const std::string mirror = Key("r.git");
  PutLayer("objects", 'b', {{"mirror", mirror}});
  PutLayer("submodules", '1', {});
  PutLayer("work-tree", 'a',
           {{"mirror", mirror},
            {"commit", "1"},
            {"base", std::string(64, 'e')},
            {"submodules", std::string(64, '1')}});
  PutLayer("work-tree", 'e', {{"mirror", mirror}, {"commit", "0"}});
  const std::string unused =
      PutLayer("work-tree", 'f', {{"mirror", mirror}, {"commit", "2"}, {"base", ""}});
  const SandboxId id = Launch("r.git", "1");
  plane_.now += hours(24 * 30);
  EXPECT_THAT(Prune({.what = What::kAll}), UnorderedElementsAre(unused, Identity("other.git")));
  plane_.Run(plane_.DoTerminate(id));
  EXPECT_EQ(Prune({.what = What::kAll}).size(), 5U);
  EXPECT_THAT(List(), IsEmpty());
}

TEST_F(RepositoryStorageTest, BundlesGoWithTheirSandboxes) {
  const std::string digest = Sha256Hex("commits"), other = Sha256Hex("others");
  ASSERT_THAT(bundles_.Put(digest, "commits"), IsOk());
  ASSERT_THAT(bundles_.Put(other, "others"), IsOk());
  EXPECT_EQ(List()[digest].kind, "bundle");
  EXPECT_THAT(Prune({}), IsEmpty()) << "just put there, for a sandbox that is still to come";
  const SandboxId id = Launch("r.git", "1", digest);
  plane_.now += hours(1);
  EXPECT_THAT(Prune({}), ElementsAre(other));
  EXPECT_THAT(bundles_.Read(digest), IsOk());
  plane_.Run(plane_.DoTerminate(id));
  plane_.now += hours(1);
  EXPECT_THAT(Prune({}), ElementsAre(digest));
}

TEST_F(RepositoryStorageTest, WhatIsUsedByNowIsNotRemoved) {
  const std::string tree = PutLayer("work-tree", 'a', {{"mirror", Key("r.git")}, {"commit", "1"}});
  plane_.now += minutes(5);
  Result<void> removed;
  plane_.Run(DoRemove(List()[tree], &removed));
  EXPECT_THAT(removed, HasError(ErrorCode::kFailedPrecondition));
  plane_.now += minutes(10);
  const StoredItem item = List()[tree];
  plane_.Run(DoRemove(item, &removed));
  EXPECT_THAT(removed, IsOk());
  plane_.Run(DoRemove(item, &removed));
  EXPECT_THAT(removed, HasError(ErrorCode::kNotFound));
}

TEST_F(RepositoryStorageTest, AMirrorThatSomethingIsMadeOfStays) {
  PutMirror("r.git");
  const auto use =
      os::Open(folder_.path() + "/state/mirrors/" + Key("r.git") + ".use", O_RDWR | O_CREAT);
  ASSERT_THAT(use, IsOk());
  ASSERT_EQ(::flock(use->get(), LOCK_SH), 0);
  EXPECT_THAT(Prune({.what = What::kAll}), IsEmpty());
  ASSERT_EQ(::flock(use->get(), LOCK_UN), 0);
  EXPECT_THAT(Prune({.what = What::kAll}), ElementsAre(Identity("r.git")));
}

TEST_F(RepositoryStorageTest, NothingGoesWhileItIsNotKnownWhatIsUsed) {
  PutMirror("r.git");
  PutLayer("work-tree", 'a', {{"mirror", Key("r.git")}, {"commit", "1"}});
  PutLayer("work-tree", 'b', {{"mirror", Key("r.git")}, {"commit", "2"}});
  LaunchPlan plan = plane_.Plan();
  plan.record.checkout.emplace().remote_url = "http://no-longer-allowed.example/r.git";
  auto sandbox = plane_.sandboxes->Create(std::move(plan));
  ASSERT_TRUE(sandbox);
  plane_.Run(plane_.AwaitCreated(*sandbox));
  plane_.now += hours(24 * 30);
  EXPECT_THAT(Prune({.what = What::kAll}), IsEmpty());
  plane_.Run(plane_.DoTerminate((*sandbox)->id()));
}

}  // namespace
}  // namespace cleanroom::server
