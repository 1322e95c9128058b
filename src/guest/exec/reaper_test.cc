#include "guest/exec/reaper.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

namespace cleanroom::guest {
namespace {

pid_t ForkExit(int code) {
  const pid_t pid = fork();
  if (pid == 0) _exit(code);
  return pid;
}

class ReaperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Reaper::Create(context_.get_executor());
    ASSERT_TRUE(made);
    reaper_ = std::move(*made);
    tasks_.emplace(context_.get_executor());
    tasks_->Spawn(reaper_->Run());
  }
  // Runs the loop until `done`, or fails after ten seconds.
  template <typename Done>
  void RunUntil(Done done) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done() && std::chrono::steady_clock::now() < limit) {
      context_.run_one_for(std::chrono::seconds(1));
    }
    EXPECT_TRUE(done());
  }
  void TearDown() override {
    tasks_->Cancel();
    RunUntil([&] { return tasks_->size() == 0; });
  }

  asio::io_context context_{1};
  std::unique_ptr<Reaper> reaper_;
  std::optional<TaskScope> tasks_;
  Notifier notifier_{context_.get_executor()};
};

TEST_F(ReaperTest, KeepsEveryOwnersStatus) {
  Reaper::Child first(*reaper_, ForkExit(3), notifier_);
  Reaper::Child second(*reaper_, ForkExit(4), notifier_);
  RunUntil([&] { return first.status() && second.status(); });
  EXPECT_EQ(WEXITSTATUS(*first.status()), 3);
  EXPECT_EQ(WEXITSTATUS(*second.status()), 4);
  EXPECT_FALSE(Reaper::HasChildren());
}

TEST_F(ReaperTest, CollectsOrphansWithoutDisturbingOwners) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  // The child's child outlives it and falls to this process, as it would to PID 1.
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    if (fork() == 0) {
      char byte = 0;
      close(gate[1]);
      _exit(read(gate[0], &byte, 1) == 0 ? 9 : 10);
    }
    _exit(5);
  }
  Reaper::Child child(*reaper_, parent, notifier_);
  RunUntil([&] { return child.status().has_value(); });
  EXPECT_EQ(WEXITSTATUS(*child.status()), 5);
  EXPECT_TRUE(Reaper::HasChildren());
  close(gate[1]);
  RunUntil([&] { return !Reaper::HasChildren(); });
  close(gate[0]);
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

TEST_F(ReaperTest, AnAbandonedChildIsCollectedAsWell) {
  {
    const Reaper::Child child(*reaper_, ForkExit(0), notifier_);
  }
  RunUntil([&] { return !Reaper::HasChildren(); });
}

}  // namespace
}  // namespace cleanroom::guest
