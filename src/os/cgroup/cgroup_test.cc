#include "os/cgroup/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/process.h"

namespace cleanroom::os {
namespace {

using testing::HasSubstr;

std::string NameOfTest() { return "cleanroom-test-" + std::to_string(getpid()); }

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    auto found = Cgroups::Find(NameOfTest());
    if (!found) GTEST_SKIP() << found.error().ToString();
    groups_.emplace(*std::move(found));
  }
  void TearDown() override {
    if (!groups_) return;
    EXPECT_TRUE(groups_->Remove("one"));
    for (const CgroupTree& tree : groups_->trees()) rmdir(tree.folder.c_str());
  }
  std::optional<Cgroups> groups_;
};

// A shell that goes on to `script` when it is in its groups.
Result<Output> RunIn(const std::vector<std::string>& groups, const std::string& script) {
  std::string join;
  for (const std::string& group : groups) join += "echo $$ >" + group + "/cgroup.procs && ";
  return Run({"sh", "-c", join + "{ " + script + "; }"});
}

TEST_F(CgroupTest, LimitsProcesses) {
  if (!groups_->Limits("pids")) GTEST_SKIP() << "no pids controller";
  const std::string script = "sleep 1 & sleep 1 & sleep 1 & wait";
  for (const uint64_t processes : {64U, 3U}) {
    auto made = groups_->Make("one", {.memory_bytes = 256 << 20, .processes = processes});
    ASSERT_THAT(made, IsOk());
    auto output = RunIn(*made, script);
    ASSERT_THAT(output, IsOk());
    EXPECT_EQ(output->err.empty(), processes == 64) << output->err;
  }
}

TEST_F(CgroupTest, LimitsMemory) {
  if (!groups_->Limits("memory")) GTEST_SKIP() << "no memory controller";
  const std::string script = "python3 -c \"x = bytearray(100 << 20); print('there')\"";
  for (const uint64_t mib : {512U, 40U}) {
    auto made = groups_->Make("one", {.memory_bytes = mib << 20, .processes = 64});
    ASSERT_THAT(made, IsOk());
    auto output = RunIn(*made, script);
    ASSERT_THAT(output, IsOk());
    EXPECT_EQ(output->out, mib == 512 ? "there\n" : "");
  }
}

TEST_F(CgroupTest, MovesAProcessWithItsChildrenAndRemovesAll) {
  auto made = groups_->Make("one", {.memory_bytes = 256 << 20, .processes = 64});
  ASSERT_THAT(made, IsOk());
  EXPECT_THAT(groups_->List(), testing::ElementsAre("one"));
  auto shell = Process::Spawn({"sh", "-c", "sleep 600 & wait"}, {});
  ASSERT_TRUE(shell);
  const std::string children = "/proc/" + std::to_string(shell->pid()) + "/task/" +
                               std::to_string(shell->pid()) + "/children";
  while (ReadFile(children, 1 << 10).value_or("-").empty()) usleep(1000);
  auto moved = MoveInto(*made, shell->pid());
  ASSERT_THAT(moved, IsOk());
  for (const std::string& group : *made) {
    const std::string pids = ReadFile(group + "/cgroup.procs", 1 << 10).value_or("");
    EXPECT_EQ(std::ranges::count(pids, '\n'), 2) << pids;
  }
  // A shell that is killed leaves its child to nobody; the group still has it.
  auto removed = groups_->Remove("one");
  EXPECT_THAT(removed, IsOk());
  for (const std::string& group : *made) EXPECT_FALSE(std::filesystem::exists(group));
  EXPECT_TRUE(groups_->List().empty());
  EXPECT_FALSE(shell->Wait()->ok());
}

TEST(CgroupFindTest, SaysWhatIsMissing) {
  const auto none = Cgroups::Find("x", "22 1 0:20 / /proc rw - proc proc rw\n", "0::/\n");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), HasSubstr("no control groups are mounted"));

  auto folder = TempDir::Create();
  ASSERT_TRUE(folder);
  const std::string mount = "30 1 0:26 / " + folder->path() + " rw,nosuid - cgroup2 cgroup2 rw\n";
  ASSERT_TRUE(WriteFileAtomic(folder->path() + "/cgroup.controllers", "cpu io\n"));
  const auto neither = Cgroups::Find("x", mount, "0::/\n");
  ASSERT_FALSE(neither);
  EXPECT_THAT(neither.error().message(), HasSubstr("neither memory nor pids"));
}

// What is written where; the files are no kernel's here.
TEST(CgroupFindTest, UsesVersion2) {
  auto folder = TempDir::Create();
  ASSERT_TRUE(folder);
  const std::string own = folder->path() + "/service";
  for (const char* group : {"/service", "/service/x", "/service/x/one"}) {
    ASSERT_TRUE(MakeDirs(folder->path() + group));
    for (const char* file : {"cgroup.subtree_control", "cgroup.procs", "pids.max", "memory.max"}) {
      ASSERT_TRUE(WriteFileAtomic(folder->path() + group + "/" + file, ""));
    }
  }
  ASSERT_TRUE(WriteFileAtomic(own + "/cgroup.controllers", "cpu memory pids\n"));
  const std::string mount = "30 1 0:26 /outer " + folder->path() + " rw - cgroup2 cgroup2 rw\n";
  const auto found = Cgroups::Find("x", mount, "1:name=systemd:/\n0::/outer/service\n");
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(ReadFile(own + "/cgroup.subtree_control", 100).value_or(""), "+memory +pids");
  EXPECT_EQ(ReadFile(own + "/x/cgroup.subtree_control", 100).value_or(""), "+memory +pids");
  ASSERT_TRUE(found->Make("one", {.memory_bytes = 1 << 20, .processes = 7}));
  EXPECT_EQ(ReadFile(own + "/x/one/pids.max", 100).value_or(""), "7");
  EXPECT_EQ(ReadFile(own + "/x/one/memory.max", 100).value_or(""), "1048576");
}

}  // namespace
}  // namespace cleanroom::os
