// A state folder on a file system of its own, which fills up.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "os/file.h"
#include "os/process.h"
#include "support/daemon.h"
#include "support/git_server.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

// Room for a template of kMemoryMib with the reserve that the daemon keeps, and not for much more.
constexpr int kMemoryMib = 256;
constexpr const char* kSize = "size=900m";
// What is left is too little for a template, and enough for a sandbox.
constexpr off_t kFiller = off_t{300} << 20;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root mounts a file system here";
    // The mount is seen by nobody but this process and its children.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    place_.emplace(os::TempDir::Create().value());
    ASSERT_EQ(mount("tmpfs", place_->path().c_str(), "tmpfs", 0, kSize), 0);
    setenv("TMPDIR", place_->path().c_str(), 1);
    daemon_ =
        std::make_unique<Daemon>("backends: { qemu: { memory_mib: " + std::to_string(kMemoryMib) +
                                 " } }\n" + "gateway: { git: { http_hosts: [localhost] } }\n");
    image_ = BaseImage(*daemon_);
  }
  void TearDown() override {
    daemon_.reset();
    unsetenv("TMPDIR");
    if (place_) (void)umount2(place_->path().c_str(), MNT_DETACH);
  }
  void Fill(off_t bytes) const {
    const os::UniqueFd fd =
        os::Open(place_->path() + "/filler", O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    ASSERT_EQ(posix_fallocate(fd.get(), 0, bytes), 0);
  }
  void FillUp() const {
    const os::UniqueFd fd =
        os::Open(place_->path() + "/filler", O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    const std::string block(1 << 20, 'x');
    while (write(fd.get(), block.data(), block.size()) > 0) {
    }
  }
  void Free() const { fs::remove(place_->path() + "/filler"); }
  Outcome Exec() const {
    return daemon_->Cli({"exec", "--rm", "-n", "--image", image_, "--", "echo", "works"});
  }
  // The file of a template that is being made.
  std::optional<fs::path> MemoryUnderWay() const {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(daemon_->state_dir() + "/sandboxes", error)) {
      if (fs::exists(entry.path() / "memory", error)) return entry.path() / "memory";
    }
    return std::nullopt;
  }
  size_t Templates() const {
    std::error_code error;
    size_t count = 0;
    for (fs::directory_iterator it(daemon_->state_dir() + "/templates", error), end;
         !error && it != end; it.increment(error)) {
      ++count;
    }
    return count;
  }

  std::optional<os::TempDir> place_;
  std::unique_ptr<Daemon> daemon_;
  std::string image_;
};

TEST_F(FullDiskTest, TemplatesAreMadeWhereThereIsRoomAndNeverAtTheCostOfASandbox) {
  Fill(kFiller);
  const Outcome refused = daemon_->Cli({"system", "warmup", "--image", image_});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("resource_exhausted: a template may take"));
  EXPECT_EQ(Exec().out, "works\n");
  EXPECT_EQ(Templates(), 0U);
  Free();

  // It fills up while one is being made.
  const std::string said =
      place_->path() + "/../" + fs::path(place_->path()).filename().string() + ".said";
  const os::UniqueFd out = os::Open(said, O_RDWR | O_CREAT | O_TRUNC, 0600).value();
  os::Process cli =
      daemon_->StartCli({"system", "warmup", "--image", image_}, out.get(), out.get());
  const auto deadline = steady_clock::now() + seconds(30);
  while (!MemoryUnderWay() && steady_clock::now() < deadline) usleep(1000);
  ASSERT_TRUE(MemoryUnderWay());
  FillUp();
  const auto ended = cli.WaitFor(seconds(60));
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->ShellCode(), 1);
  EXPECT_THAT(os::ReadFile(said, 1 << 16).value(), HasSubstr("cleanroom: "));
  fs::remove(said);
  EXPECT_EQ(Templates(), 0U);
  Free();
  EXPECT_EQ(Exec().out, "works\n");
  // Asked for, it is made now.
  const Outcome warmed = daemon_->Cli({"system", "warmup", "--image", image_});
  EXPECT_EQ(warmed.code, 0) << warmed.err;
  EXPECT_EQ(Templates(), 1U);
  EXPECT_EQ(Exec().out, "works\n");
}

TEST_F(FullDiskTest, ARepositoryThatDoesNotFitIsRefusedAndLeavesNothing) {
  // Its objects do not fit into what is left, which a sandbox does.
  const cleanroom::testing::GitServer server;
  server.Script(
      "git init -q -b main r; cd r; head -c 60m /dev/urandom >f; git add f; "
      "git -c core.compression=0 commit -q -m one");
  const std::string url = "http://" + server.named_host() + "/r";
  const std::vector<std::string> args = {"exec", "--rm", "-n", "--image", image_,    "--repo-url",
                                         url,    "--",   "sh", "-c",      "wc -c <f"};
  struct statvfs room = {};
  ASSERT_EQ(statvfs(place_->path().c_str(), &room), 0);
  Fill(static_cast<off_t>(room.f_bavail * room.f_frsize) - (off_t{30} << 20));
  const Outcome refused = daemon_->Cli(args);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("resource_exhausted"));
  EXPECT_THAT(refused.err, HasSubstr("the disk of cleanroomd is full"));
  std::error_code error;
  EXPECT_TRUE(fs::is_empty(daemon_->state_dir() + "/sandboxes", error));
  EXPECT_TRUE(fs::is_empty(daemon_->state_dir() + "/mirrors/tmp", error));
  ASSERT_EQ(statvfs(place_->path().c_str(), &room), 0);
  EXPECT_GT(room.f_bavail * room.f_frsize, uint64_t{25} << 20);
  Free();
  const Outcome works = daemon_->Cli(args);
  EXPECT_EQ(works.out, "62914560\n") << works.err;
}

}  // namespace
}  // namespace cleanroom::test
