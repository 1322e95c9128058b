// What a stand-in warden and a stand-in machine monitor are refused (README.md).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>

#include "base/id.h"
#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/process.h"
#include "server/layout.h"
#include "server/warden/sandbox_user.h"
#include "server/warden/warden_process.h"
#include "tests/jail/probes.h"

namespace cleanroom::jail {
namespace {

constexpr std::chrono::seconds kLimit{60};
constexpr size_t kMaxText = 1 << 20;

class StandInTest : public testing::Test {
 protected:
  void SetUp() override {
    auto folder = os::TempDir::Create();
    ASSERT_TRUE(folder);
    folder_.emplace(*std::move(folder));
    layout_.emplace(folder_->path());
    auto sibling = os::Process::Spawn({"sleep", "600"}, {});
    ASSERT_TRUE(sibling);
    sibling_.emplace(*std::move(sibling));
    listener_ = os::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ASSERT_EQ(listen(listener_.get(), 16), 0);
    ASSERT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    targets_ = {.sibling = sibling_->pid(),
                .port = ntohs(address.sin_port),
                .secret = folder_->path() + "/secret",
                .readable = folder_->path() + "/image"};
    ASSERT_TRUE(os::WriteFileAtomic(targets_.secret, "secret", 0600));
    ASSERT_TRUE(os::WriteFileAtomic(targets_.readable, "image", 0666));
  }

  // The findings without a jail.
  Findings Outside() {
    auto output = os::Run({JAIL_PROBE, ToText(targets_)}, {.timeout = kLimit});
    if (!output) ADD_FAILURE() << output.error().ToString();
    return output ? FindingsFrom(output->out) : Findings();
  }

  // Runs a stand-in for a warden, and its machine.
  void RunJailed() {
    const SandboxId id(NewId());
    const std::string folder = layout_->Sandbox(id);
    ASSERT_TRUE(os::MakeDirs(folder));
    ASSERT_TRUE(os::WriteFileAtomic(folder + "/targets", ToText(targets_)));
    ASSERT_TRUE(os::WriteFileAtomic(layout_->Disk(id), "disk"));
    const auto users = server::FindSandboxUsers();
    const auto user =
        server::GiveToUser(users.value_or(std::optional<server::UserRange>()), *layout_, id);
    ASSERT_THAT(user, IsOk());
    auto warden = server::WardenProcess::Start({.program = JAIL_PROBE,
                                                .sandbox_id = id,
                                                .folder = folder,
                                                .readable = {targets_.readable, JAIL_PROBE},
                                                .writable = {layout_->Disk(id)},
                                                .user = *user});
    ASSERT_THAT(warden, IsOk());
    const auto deadline = std::chrono::steady_clock::now() + kLimit;
    while (!std::filesystem::exists(folder + "/vmm") &&
           std::chrono::steady_clock::now() < deadline) {
      usleep(2000);
      if (std::filesystem::file_size(folder + "/warden.log") > 0) break;
    }
    warden_ = FindingsFrom(os::ReadFile(folder + "/warden", kMaxText).value_or(""));
    vmm_ = FindingsFrom(os::ReadFile(folder + "/vmm", kMaxText).value_or(""));
    EXPECT_EQ(os::ReadFile(folder + "/warden.log", kMaxText).value_or("no log"), "");
  }

  std::optional<os::TempDir> folder_;
  std::optional<server::Layout> layout_;
  std::optional<os::Process> sibling_;
  os::UniqueFd listener_;
  Targets targets_;
  Findings warden_;
  Findings vmm_;
};

TEST_F(StandInTest, AreRefusedWhatWorksOutside) {
  // The warden dials what its doors allow, and is found again by the host's number.
  const std::set<std::string> wardens = {"connect out", "be a process of the host's namespace"};
  // What an ordinary user may not do, or not on every host.
  const std::set<std::string> roots = {"read /etc/shadow", "load a module", "trace a sibling"};
  const Findings outside = Outside();
  ASSERT_EQ(outside.size(), 15U);
  RunJailed();
  ASSERT_EQ(warden_.size(), outside.size());
  ASSERT_EQ(vmm_.size(), outside.size());
  for (const auto& [name, finding] : outside) {
    if (geteuid() != 0 && roots.contains(name)) continue;
    EXPECT_EQ(finding, "") << name << ": the probe itself does not work";
  }
  for (const auto& [name, finding] : outside) {
    EXPECT_NE(vmm_[name], "") << "the machine's monitor: " << name;
    if (wardens.contains(name)) continue;
    EXPECT_NE(warden_[name], "") << "the warden: " << name;
  }
  EXPECT_EQ(warden_["connect out"], "");
}

// Each by the layer that it is: a probe that fails for another reason would prove nothing.
TEST_F(StandInTest, AreRefusedByTheLayerInQuestion) {
  RunJailed();
  const Findings warden = {
      {"read /etc/passwd", "ENOENT"},   {"read a secret", "ENOENT"},
      {"see processes", "ENOENT"},      {"kill a sibling", "EPERM"},
      {"tgkill a sibling", "EPERM"},    {"signal a sibling by descriptor", "EPERM"},
      {"trace a sibling", "EPERM"},     {"mount", "EPERM"},
      {"load a module", "EPERM"},       {"talk to the kernel's network", "EPERM"},
      {"make many processes", "EAGAIN"}};
  Findings vmm = warden;
  vmm["be a process of the host's namespace"] = "ESRCH";
  vmm["connect out"] = "ENETUNREACH";
  vmm["write what is read-only"] = "EROFS";
  for (const auto& [name, finding] : warden) EXPECT_EQ(warden_[name], finding) << name;
  for (const auto& [name, finding] : vmm) EXPECT_EQ(vmm_[name], finding) << name;
}

}  // namespace
}  // namespace cleanroom::jail
