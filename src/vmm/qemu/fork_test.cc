// Forks of a stand-in for QEMU (testing/threads_main.cc); real machines are forked in
// machine_test.cc.
#include "vmm/qemu/fork.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"
#include "vmm/qemu/descriptors.h"
#include "vmm/qemu/qemu_backend.h"

namespace cleanroom::vmm {
namespace {

class ForkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!QemuBackend::HasForkServer()) GTEST_SKIP() << "built without CLEANROOM_FORK_SERVER";
    auto folder = os::TempDir::Create();
    ASSERT_TRUE(folder);
    folder_.emplace(*std::move(folder));
    ASSERT_TRUE(os::WriteFileAtomic(Path("disk"), "disk"));
    auto listener = os::ListenUnix(Path("forks"));
    auto agent = os::SocketPair();
    ASSERT_TRUE(listener && agent);
    os::SpawnOptions options;
    // As QEMU has them; what is not its agent's end is never read here.
    for (const int fd : {kQemuAgentFd, kQemuMonitorFd, kQemuConsoleFd, kQemuTapFd}) {
      options.fds.push_back({fd, agent->second.get()});
    }
    options.fds.push_back({kQemuForkFd, listener->get()});
    options.env = {
        {"LD_PRELOAD=" QEMU_PRELOAD, "CLEANROOM_FORK_FD=" + std::to_string(kQemuForkFd)}};
    auto held = os::Process::Spawn({QEMU_STAND_IN}, options);
    ASSERT_THAT(held, IsOk());
    held_.emplace(*std::move(held));
    agent_ = std::move(agent->first);
  }
  std::string Path(const std::string& name) const { return folder_->path() + "/" + name; }
  Result<std::unique_ptr<QemuMachine>> Fork() const {
    CR_TRY_ASSIGN(os::UniqueFd connection, os::ConnectUnix(Path("forks")));
    return ForkHeld({.sandbox_id = "x", .disk = Path("disk"), .tap_fd = -1}, std::move(connection));
  }
  // What the process at the other end says of its threads; '?' when it says nothing.
  static char Ask(const os::UniqueFd& agent) {
    char byte = '!';
    if (write(agent.get(), &byte, 1) != 1) return '?';
    pollfd answer{agent.get(), POLLIN, 0};
    if (poll(&answer, 1, 20'000) != 1 || read(agent.get(), &byte, 1) != 1) return '?';
    return byte;
  }

  std::optional<os::TempDir> folder_;
  std::optional<os::Process> held_;
  os::UniqueFd agent_;
};

// QEMU's requests to disks come and go with threads, for as long as a sandbox lives.
TEST_F(ForkTest, ThreadsComeAndGoWithoutEndInTheHeldProcessAndInForks) {
  EXPECT_EQ(Ask(agent_), 'y');
  for (int i = 0; i < 3; ++i) {
    auto fork = Fork();
    ASSERT_THAT(fork, IsOk());
    const os::UniqueFd agent = (*fork)->TakeAgentStream();
    EXPECT_EQ(Ask(agent), 'y');
    EXPECT_EQ(Ask(agent), 'y');
    ASSERT_TRUE((*fork)->Kill());
  }
  EXPECT_EQ(Ask(agent_), 'y');
}

TEST_F(ForkTest, ARequestThatIsNoneIsRefusedAndHarmsNobody) {
  auto connection = os::ConnectUnix(Path("forks"));
  ASSERT_TRUE(connection);
  ASSERT_TRUE(os::WriteAll(connection->get(), std::string(200, '?'), "forks"));
  auto fork = Fork();
  ASSERT_THAT(fork, IsOk());
  EXPECT_EQ(Ask((*fork)->TakeAgentStream()), 'y');
}

}  // namespace
}  // namespace cleanroom::vmm
