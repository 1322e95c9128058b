// Real guests under QEMU, with a small program as /init (testing/agent/main.cc).
// Longer than others, because all of it uses the fixture of real machines that stands first.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <thread>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "os/netns/netns.h"
#include "os/socket.h"
#include "vmm/boot_probe.h"
#include "vmm/console_log.h"
#include "vmm/kernel/initramfs.h"
#include "vmm/qemu/argv.h"
#include "vmm/qemu/qemu_backend.h"
#include "vmm/testing/test_kernel.h"
#include "vmm/tsc.h"

namespace cleanroom::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kBootDeadline(30'000);
constexpr size_t kConsoleBytes = 128 << 10;

class MachineTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = os::TempDir::Create();
    ASSERT_TRUE(dir);
    dir_.emplace(*std::move(dir));
    auto kernel = TestKernel();
    if (!kernel && kernel.error().code() == ErrorCode::kFailedPrecondition) {
      GTEST_SKIP() << kernel.error().ToString();
    }
    ASSERT_THAT(kernel, IsOk());
    auto initrd = TestInitramfs(*kernel, VMM_TEST_AGENT);
    ASSERT_THAT(initrd, IsOk());
    spec_.sandbox_id = "01kr7p9ksmfa7rmyypyqw2w8r0";
    spec_.kernel = kernel->vmlinux;
    spec_.initrd = *initrd;
    spec_.memory_mib = 256;
    auto tsc = MeasureTscKhz();
    ASSERT_TRUE(tsc);
    spec_.tsc_khz = *tsc;
  }

  // Boots spec_ and waits for READY; the error text otherwise.
  std::string BootMachine() {
    const auto begin = steady_clock::now();
    const QemuBackend backend({.preload = QEMU_PRELOAD, .fork_listener = fork_listener_.get()});
    auto machine = backend.Start(spec_, Boot{.memory_file = saved_.memory_file}, Soon());
    if (!machine) return machine.error().ToString();
    if (std::string failure = Take(*std::move(machine)); !failure.empty()) return failure;
    const std::string ready = ReadLine();
    boot_ms_ = std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
    return ready == "READY" ? "" : "not ready: '" + ready + "'\n" + log_->LastLines(20);
  }

  std::string Take(std::unique_ptr<Machine> machine) {
    machine_ = std::move(machine);
    buffer_.clear();
    agent_ = machine_->TakeAgentStream();
    console_ = machine_->TakeConsole();
    fcntl(console_.get(), F_SETFL, O_NONBLOCK);
    auto log = ConsoleLog::Create(dir_->path() + "/console.log", kConsoleBytes);
    if (!log) return log.error().ToString();
    log_.emplace(*std::move(log));
    return "";
  }

  static steady_clock::time_point Soon() { return steady_clock::now() + milliseconds(20'000); }

  // Boots with its RAM in a file, and saves; the paths are then those of the template.
  void MakeTemplate() {
    saved_ = {.memory_file = dir_->path() + "/memory", .state_file = dir_->path() + "/state"};
    ASSERT_EQ(BootMachine(), "");
    ASSERT_EQ(Ask("e warm"), "warm");
    auto state = os::Open(saved_.state_file, O_RDWR | O_CREAT, 0600);
    ASSERT_TRUE(state);
    auto saved = machine_->Save(state->get(), Soon());
    ASSERT_THAT(saved, IsOk());
    machine_.reset();
  }

  Result<std::unique_ptr<Machine>> Restore() {
    return QemuBackend({.preload = QEMU_PRELOAD}).Start(spec_, saved_, Soon());
  }

  // The next line from the agent, while the console is drained; "" when the machine ended or hangs.
  std::string ReadLine() {
    const auto deadline = steady_clock::now() + kBootDeadline;
    while (steady_clock::now() < deadline) {
      const size_t newline = buffer_.find('\n');
      if (newline != std::string::npos) {
        std::string line = buffer_.substr(0, newline);
        buffer_.erase(0, newline + 1);
        return line;
      }
      pollfd watched[] = {{agent_.get(), POLLIN, 0}, {console_.get(), POLLIN, 0}};
      poll(watched, 2, 1000);
      if (watched[1].revents != 0) {
        auto more = log_->ReadFrom(console_.get());
        if (!more || !*more) return "";
      }
      if (watched[0].revents != 0) {
        char chunk[4096];
        const ssize_t n = read(agent_.get(), chunk, sizeof chunk);
        if (n <= 0) return "";
        buffer_.append(chunk, static_cast<size_t>(n));
      }
    }
    return "";
  }

  std::string Ask(const std::string& line) {
    if (!os::WriteAll(agent_.get(), line + "\n", "agent")) return "cannot write";
    return ReadLine();
  }

  // A layer of 64 MiB that begins so, and that may only be read.
  void Fill(int slot, const std::string& begin) {
    const std::string path = dir_->path() + "/layer";
    std::filesystem::remove(path);
    ASSERT_TRUE(os::WriteFileAtomic(path, begin));
    ASSERT_EQ(truncate(path.c_str(), 64 << 20), 0);
    ASSERT_EQ(chmod(path.c_str(), 0400), 0);
    auto file = os::Open(path, O_RDONLY);
    ASSERT_TRUE(file);
    const auto since = steady_clock::now();
    const SlotFile filled[] = {{.slot = slot, .fd = file->get()}};
    ASSERT_THAT(machine_->FillSlots(filled, Soon()), IsOk());
    std::cout << "filled slot " << slot << ": "
              << std::chrono::duration<double, std::milli>(steady_clock::now() - since).count()
              << " ms\n";
  }

  // Waits for the end of the VM with the console drained to its end.
  Result<os::ExitStatus> End() {
    pollfd watched{machine_->pidfd(), POLLIN, 0};
    EXPECT_EQ(poll(&watched, 1, 20'000), 1) << "the VM does not end";
    for (auto more = log_->ReadFrom(console_.get()); more && *more;) {
      more = log_->ReadFrom(console_.get());
      if (more && *more) break;  // non-blocking: nothing more to come from an ended process
    }
    return machine_->Wait();
  }

  std::optional<os::TempDir> dir_;
  MachineSpec spec_;
  Copy saved_;                  // of the template
  os::UniqueFd fork_listener_;  // where forks of the machine are asked for
  std::unique_ptr<Machine> machine_;
  os::UniqueFd agent_;
  os::UniqueFd console_;
  std::optional<ConsoleLog> log_;
  std::string buffer_;
  double boot_ms_ = 0;
};

TEST_F(MachineTest, BootsAnswersAndQuits) {
  ASSERT_EQ(BootMachine(), "");
  RecordProperty("cold_boot_ms", std::to_string(boot_ms_));
  std::cout << "cold boot to agent ready: " << boot_ms_ << " ms\n";
  EXPECT_EQ(Ask("e ping"), "ping");
  // "tsc-early" is the same counter, until the kernel has set up the rest of its clocks.
  EXPECT_THAT(Ask("c"), testing::StartsWith("tsc"))
      << "the guest's clock counts ticks, and will lose some";
  EXPECT_TRUE(Ask("o").starts_with("2 online"));
  auto cmdline = os::ReadFile(fmt::format("/proc/{}/cmdline", machine_->pid()), 1 << 16);
  ASSERT_TRUE(cmdline);
  EXPECT_NE(cmdline->find(spec_.sandbox_id), std::string::npos);
  auto status = machine_->Quit(milliseconds(5000));
  ASSERT_THAT(status, IsOk());
  EXPECT_TRUE(status->ok()) << status->ToString();
  EXPECT_EQ(ReadLine(), "");
}

TEST_F(MachineTest, AttachesTheImageReadOnlyAndTheDisk) {
  spec_.image = dir_->path() + "/image, with comma";
  spec_.disk = dir_->path() + "/disk";
  ASSERT_TRUE(os::WriteFileAtomic(spec_.image, "sixteen bytes..!" + std::string(1 << 20, 'i')));
  ASSERT_TRUE(os::WriteFileAtomic(spec_.disk, std::string(1 << 20, 'd')));
  ASSERT_EQ(BootMachine(), "");
  EXPECT_EQ(Ask("b"), "cr-image:ro:sixteen bytes..! cr-disk:rw:dddddddddddddddd");
  EXPECT_EQ(Ask("w"), "done");
  EXPECT_EQ(os::ReadFile(spec_.disk, 2 << 20)->substr(0, 16), "written by guest");
}

TEST_F(MachineTest, CopiesOfATemplateRunOnApart) {
  spec_.disk = dir_->path() + "/disk";
  ASSERT_TRUE(os::WriteFileAtomic(spec_.disk, std::string(1 << 20, 'd')));
  MakeTemplate();
  ASSERT_EQ(chmod(saved_.memory_file.c_str(), 0400), 0);
  const auto before = os::ReadFile(saved_.memory_file, 512 << 20);
  ASSERT_TRUE(before);
  std::vector<std::string> disks;
  for (int i = 0; i < 2; ++i) {
    spec_.disk = dir_->path() + "/disk" + std::to_string(i);
    disks.push_back(spec_.disk);
    ASSERT_TRUE(os::WriteFileAtomic(spec_.disk, std::string(1 << 20, 'd')));
    const auto begin = steady_clock::now();
    auto machine = Restore();
    ASSERT_THAT(machine, IsOk());
    ASSERT_EQ(Take(*std::move(machine)), "");
    EXPECT_EQ(Ask("e ping"), "ping");
    std::cout << "restored and answered: "
              << std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count()
              << " ms\n";
    if (i == 0) {
      EXPECT_EQ(Ask("w"), "done");
    }
  }
  EXPECT_EQ(os::ReadFile(disks[0], 2 << 20)->substr(0, 7), "written");
  EXPECT_EQ(os::ReadFile(disks[1], 2 << 20)->substr(0, 7), "ddddddd");
  EXPECT_TRUE(*before == *os::ReadFile(saved_.memory_file, 512 << 20)) << "the template changed";
}

TEST_F(MachineTest, SlotsAreFilledWhileTheMachineRuns) {
  spec_.slots = kMaxSlots;
  ASSERT_EQ(BootMachine(), "");
  EXPECT_EQ(Ask("s 0"), "cr-slot-0:ro:");
  for (const int slot : {0, 1, kMaxSlots - 1})
    Fill(slot, std::to_string(slot) + " bytes of a layer");
  EXPECT_EQ(Ask("s 1"), "cr-slot-1:ro:1 bytes of a lay");
  EXPECT_EQ(Ask("s 2"), "cr-slot-2:ro:");
  EXPECT_EQ(Ask(fmt::format("s {}", kMaxSlots - 1)),
            fmt::format("cr-slot-{}:ro:{} bytes of a la", kMaxSlots - 1, kMaxSlots - 1));
  spec_.slots = kMaxSlots + 1;
  const auto refused = QemuBackend().Start(spec_, Boot{}, Soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(MachineTest, ACopyHasFilesInItsSlotsThatItsTemplateDidNotKnow) {
  spec_.slots = 2;
  MakeTemplate();
  for (int i = 0; i < 2; ++i) {
    auto machine = Restore();
    ASSERT_THAT(machine, IsOk());
    ASSERT_EQ(Take(*std::move(machine)), "");
    Fill(1, std::to_string(i) + "ixteen bytes..!");
    EXPECT_EQ(Ask("s 1"), "cr-slot-1:ro:" + std::to_string(i) + "ixteen bytes..!");
    EXPECT_EQ(Ask("s 0"), "cr-slot-0:ro:");
  }
}

TEST_F(MachineTest, ForksOfAHeldMachineRunOnApart) {
  if (!QemuBackend::HasForkServer()) GTEST_SKIP() << "built without CLEANROOM_FORK_SERVER";
  spec_.slots = 2;
  spec_.disk = dir_->path() + "/disk";
  ASSERT_TRUE(os::WriteFileAtomic(spec_.disk, std::string(1 << 20, 'd')));
  const std::string path = dir_->path() + "/forks";
  auto listener = os::ListenUnix(path);
  ASSERT_TRUE(listener);
  fork_listener_ = std::move(*listener);
  ASSERT_EQ(BootMachine(), "");
  ASSERT_EQ(Ask("e warm"), "warm");
  const auto held_log = std::move(*log_);
  const auto held = std::move(machine_);
  const auto held_agent = std::move(agent_);
  const auto held_console = std::move(console_);
  auto paused = held->Pause(Soon());
  ASSERT_THAT(paused, IsOk());
  std::vector<std::string> disks;
  for (int i = 0; i < 4; ++i) {
    const std::string disk = dir_->path() + "/disk" + std::to_string(i);
    disks.push_back(disk);
    ASSERT_TRUE(os::WriteFileAtomic(disk, std::string(1 << 20, 'd')));
    const auto begin = steady_clock::now();
    MachineSpec fork;
    fork.sandbox_id = "01kr7p9ksmfa7rmyypyqw2w8r" + std::to_string(i);
    fork.disk = disk;
    auto machine = QemuBackend().Start(fork, Fork{.socket = path}, Soon());
    ASSERT_THAT(machine, IsOk());
    std::cout << "forked: "
              << std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count()
              << " ms\n";
    ASSERT_EQ(Take(*std::move(machine)), "");
    Fill(0, disk.substr(disk.size() - 1) + "ixteen bytes..!");
    EXPECT_EQ(Ask("e ping"), "ping");
    std::cout << "forked, filled and answered: "
              << std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count()
              << " ms\n";
    if (i % 2 == 0) {
      EXPECT_EQ(Ask("w"), "done");
    }
    EXPECT_EQ(Ask("s 0"), "cr-slot-0:ro:" + std::to_string(i) + "ixteen bytes..!");
    EXPECT_EQ(Ask("s 1"), "cr-slot-1:ro:");
  }
  EXPECT_EQ(os::ReadFile(disks[0], 2 << 20)->substr(0, 7), "written");
  EXPECT_EQ(os::ReadFile(disks[1], 2 << 20)->substr(0, 7), "ddddddd");
  EXPECT_EQ(os::ReadFile(spec_.disk, 2 << 20)->substr(0, 7), "ddddddd");
}

// Its owner may be killed at any moment, also while the fork is stopped.
TEST_F(MachineTest, AForkEndsWithTheConnectionOfItsOwner) {
  if (!QemuBackend::HasForkServer()) GTEST_SKIP() << "built without CLEANROOM_FORK_SERVER";
  const std::string path = dir_->path() + "/forks";
  spec_.disk = dir_->path() + "/disk";
  ASSERT_TRUE(os::WriteFileAtomic(spec_.disk, std::string(1 << 20, 'd')));
  auto listener = os::ListenUnix(path);
  ASSERT_TRUE(listener);
  fork_listener_ = std::move(*listener);
  ASSERT_EQ(BootMachine(), "");
  ASSERT_TRUE(machine_->Pause(Soon()));
  const std::string disk = dir_->path() + "/disk0";
  ASSERT_TRUE(os::WriteFileAtomic(disk, std::string(1 << 20, 'd')));
  auto idle = os::ConnectUnix(path);  // one that never asks holds nobody up
  ASSERT_TRUE(idle);
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t owner = fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    MachineSpec spec;
    spec.sandbox_id = "x";
    spec.disk = disk;
    Fork from;
    from.connection = *os::ConnectUnix(path);
    auto forked = QemuBackend().Start(spec, std::move(from), Soon());
    if (!forked) std::cerr << forked.error().ToString() << "\n";
    const pid_t pid = forked ? (*forked)->pid() : -1;
    (void)!write(told[1], &pid, sizeof pid);
    for (;;) pause();
  }
  const auto end_owner = [owner] {
    kill(owner, SIGKILL);
    waitpid(owner, nullptr, 0);
  };
  pid_t pid = -1;
  EXPECT_EQ(read(told[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  if (pid <= 0) end_owner();
  ASSERT_GT(pid, 0);
  const os::UniqueFd watched(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  pollfd end{watched.get(), POLLIN, 0};
  EXPECT_EQ(poll(&end, 1, 0), 0);
  end_owner();
  EXPECT_EQ(poll(&end, 1, 10'000), 1);
  close(told[0]);
  close(told[1]);
}

TEST_F(MachineTest, ADamagedTemplateIsRefused) {
  MakeTemplate();
  const std::string path = dir_->path() + "/state";
  const std::string whole = *os::ReadFile(path, 16 << 20);
  for (const std::string& damaged :
       {whole.substr(0, whole.size() / 2), std::string("nonsense"), std::string()}) {
    ASSERT_TRUE(os::WriteFileAtomic(path, damaged));
    auto machine = Restore();
    ASSERT_FALSE(machine) << damaged.size();
    EXPECT_TRUE(machine.error().code() == ErrorCode::kRuntimeLaunchFailed ||
                machine.error().code() == ErrorCode::kUnavailable)
        << machine.error().ToString();
  }
  saved_.memory_file = "/nonexistent/memory";
  ASSERT_TRUE(os::WriteFileAtomic(path, whole));
  EXPECT_FALSE(Restore());
}

TEST_F(MachineTest, PanicEndsTheMachineAndIsTold) {
  ASSERT_EQ(BootMachine(), "");
  EXPECT_EQ(Ask("p"), "");
  auto status = End();
  ASSERT_TRUE(status);
  ASSERT_TRUE(log_->panic()) << log_->LastLines(20);
  EXPECT_EQ(*log_->panic(), "Attempted to kill init! exitcode=0x00000700");
  EXPECT_NE(log_->LastLines(100).find("about to panic"), std::string::npos) << log_->LastLines(100);
}

TEST_F(MachineTest, AKilledMachineReportsIt) {
  ASSERT_EQ(BootMachine(), "");
  ASSERT_EQ(kill(machine_->pid(), SIGKILL), 0);
  auto status = End();
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, (os::ExitStatus{os::ExitStatus::Kind::kSignaled, SIGKILL}));
}

TEST_F(MachineTest, ARefusedCommandLineIsTheReason) {
  spec_.kernel = "/nonexistent/vmlinux";
  EXPECT_NE(BootMachine(), "");
  auto status = End();
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->ok());
  EXPECT_NE(log_->LastLines(3).find("/nonexistent/vmlinux"), std::string::npos)
      << log_->LastLines(3);
}

TEST_F(MachineTest, AFloodedConsoleStaysBounded) {
  ASSERT_EQ(BootMachine(), "");
  EXPECT_EQ(Ask("f"), "done");
  EXPECT_EQ(Ask("e still here"), "still here");
  EXPECT_LE(std::ifstream(dir_->path() + "/console.log", std::ios::ate).tellg() +
                std::ifstream(dir_->path() + "/console.log.1", std::ios::ate).tellg(),
            std::streamoff{kConsoleBytes});
}

TEST_F(MachineTest, BootsWithBothCoresLoaded) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> load;
  load.reserve(size_t{2} * std::thread::hardware_concurrency());
  for (unsigned i = 0; i < 2 * std::thread::hardware_concurrency(); ++i) {
    load.emplace_back([&stop] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  const std::string failure = BootMachine();
  const std::string answer = failure.empty() ? Ask("c") : "";
  stop = true;
  for (std::thread& thread : load) thread.join();
  EXPECT_EQ(failure, "");
  EXPECT_THAT(answer, testing::StartsWith("tsc"));
  std::cout << "cold boot with all cores loaded: " << boot_ms_ << " ms\n";
}

TEST_F(MachineTest, BootProbeTellsABootFromAHang) {
  auto booted = ProbeBoot(QemuBackend(), spec_, kBootDeadline);
  EXPECT_THAT(booted, IsOk());
  EXPECT_EQ(ProbeBoot(QemuBackend(), spec_, milliseconds(1)).error().code(),
            ErrorCode::kDeadlineExceeded);
  spec_.initrd = "/nonexistent/initrd";
  auto failed = ProbeBoot(QemuBackend(), spec_, kBootDeadline);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("/nonexistent/initrd"), std::string::npos);
}

TEST_F(MachineTest, AutoAcceleratorIsDecidedQuickly) {
  const QemuBackend backend;
  const auto begin = steady_clock::now();
  const Trial trial{.kernel = spec_.kernel,
                    .initrd = spec_.initrd,
                    .tsc_khz = spec_.tsc_khz,
                    .launch_limit = milliseconds(0)};
  auto decision = DecideAccelerator(backend, AcceleratorChoice::kAuto, trial,
                                    {.path = dir_->path() + "/verdict", .key = "key"});
  ASSERT_THAT(decision, IsOk());
  const auto took = steady_clock::now() - begin;
  std::cout << ToString(decision->accelerator) << ": " << decision->reason << "\n";
  if (!ReadKvmFacts().processor) {
    EXPECT_EQ(decision->accelerator, Accelerator::kTcg);
    EXPECT_LT(took, milliseconds(1000));
  }
  EXPECT_LT(took, TrialLimit(AcceleratorChoice::kAuto, milliseconds(0)) + milliseconds(2000));
}

TEST_F(MachineTest, ChecksPassWhereMachinesRun) {
  bool qemu_ok = false;
  for (const capability::Check& check : QemuBackend().Checks()) {
    EXPECT_FALSE(check.message.empty()) << check.name;
    EXPECT_EQ(check.status == capability::Check::Status::kOk, check.remedy.empty()) << check.name;
    qemu_ok = qemu_ok || (check.name == "qemu" && check.status == capability::Check::Status::kOk);
  }
  EXPECT_TRUE(qemu_ok);
  const QemuBackend missing({.binary = "/nonexistent/qemu"});
  EXPECT_EQ(missing.Checks()[0].status, capability::Check::Status::kFail);
  EXPECT_NE(missing.Checks()[0].remedy.find("qemu-system-x86"), std::string::npos);
  auto refused = missing.Start(spec_, Boot{}, Soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBackendUnavailable);
  EXPECT_EQ(refused.error().remedy(), missing.Checks()[0].remedy);
}

TEST_F(MachineTest, TheVmmHasNamespacesWithoutANetwork) {
  auto machine = QemuBackend({.preload = QEMU_PRELOAD}).Start(spec_, Boot{}, Soon());
  ASSERT_THAT(machine, IsOk());
  const std::string process = fmt::format("/proc/{}", (*machine)->pid());
  for (const char* kind : {"net", "user", "ipc", "mnt", "pid_for_children", "uts"}) {
    const std::string link = fmt::format("/ns/{}", kind);
    std::error_code error;
    const auto theirs = std::filesystem::read_symlink(process + link, error);
    ASSERT_FALSE(error) << error.message();
    EXPECT_NE(theirs, std::filesystem::read_symlink("/proc/self" + link)) << kind;
  }
  const std::string devices = os::ReadFile(process + "/net/dev", 1 << 16).value_or("");
  EXPECT_EQ(std::count(devices.begin(), devices.end(), '\n'), 3) << devices;  // two of a heading
  EXPECT_NE(devices.find(" lo:"), std::string::npos) << devices;
  // A loopback that is up has an address and its routes.
  EXPECT_EQ(os::ReadFile(process + "/net/if_inet6", 1 << 16).value_or(""), "");
  EXPECT_EQ(os::ReadFile(process + "/net/fib_trie", 1 << 16).value_or(""), "");
  const std::string status = os::ReadFile(process + "/status", 1 << 16).value_or("");
  EXPECT_NE(status.find("CapPrm:\t0000000000000000"), std::string::npos) << status;
  EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos) << status;
}

TEST_F(MachineTest, TheGuestReachesNothingAndLearnsItAtOnce) {
  // In a child, because a process cannot leave the namespaces again.
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string text = [&]() -> std::string {
      auto net = os::NetNs::Create();
      if (!net) return "skip: " + net.error().ToString();
      if (auto dropped = os::DropPrivileges(); !dropped) return dropped.error().ToString();
      spec_.network.fd = net->tap.get();
      net->doors = {};
      if (std::string failure = BootMachine(); !failure.empty()) return failure;
      return Ask("n 198.51.100.7") + "\n" + Ask("n 10.0.2.1") + "\n" + Ask("n 169.254.169.254");
    }();
    (void)os::WriteAll(report[1], text, "pipe");
    machine_.reset();
    _exit(0);
  }
  close(report[1]);
  const std::string text = os::ReadAll(report[0], 1 << 16, "pipe").value_or("");
  close(report[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (text.starts_with("skip: ")) GTEST_SKIP() << text;
  int refused = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    EXPECT_TRUE(line.starts_with("ECONNREFUSED ")) << text;
    const size_t space = line.find(' ');
    ASSERT_NE(space, std::string::npos) << text;
    EXPECT_LT(std::stoi(line.substr(space)), 1000) << text;
    ++refused;
  }
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace cleanroom::vmm
