// The agent as PID 1 under QEMU, on an image of busybox: what only a real machine can show.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <iostream>

#include "base/async.h"
#include "base/testing/result_matchers.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/internal/v1/guest.rpc.h"
#include "guest_link/devices.h"
#include "http/byte_stream.h"
#include "os/file.h"
#include "os/process.h"
#include "rpc/client.h"
#include "vmm/kernel/initramfs.h"
#include "vmm/qemu/qemu_backend.h"
#include "vmm/testing/test_kernel.h"
#include "vmm/tsc.h"

namespace cleanroom {
namespace {

using namespace internal::v1;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kMiB = 1 << 20;
using Stream = rpc::ClientStream<ExecInput, ExecOutput>;

double MsSince(steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
}

std::string RunTool(const std::vector<std::string>& argv) {
  auto output = os::Run(argv, {.timeout = std::chrono::seconds(60)});
  if (!output) return output.error().ToString();
  return output->status.ok() ? "" : output->err + output->out;
}

// An image whose /proc is missing, whose /etc/resolv.conf is a link, and that has two users.
std::string MakeImage(const std::string& folder) {
  const std::string script = R"(
    cd "$0"; mkdir -p tree/bin tree/etc tree/home/app tree/data/old
    cp /usr/bin/busybox tree/bin/busybox
    for applet in $(busybox --list); do [ -e "tree/bin/$applet" ] || ln -s busybox "tree/bin/$applet"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >tree/etc/passwd
    echo 'app:x:1000:1000::/home/app:/bin/sh' >>tree/etc/passwd
    echo 'video:x:44:app' >tree/etc/group
    ln -s /run/elsewhere tree/etc/resolv.conf
    echo contents >tree/data/old/file
    mke2fs -q -t ext4 -O ^has_journal -d tree image.ext4 32M
    mke2fs -q -t ext4 -O ^has_journal disk.ext4 256M)";
  return RunTool({"sh", "-ec", script, folder});
}

// Another build of the agent may be named, such as the release one in a debug build.
std::string AgentPath() {
  const char* other = getenv("CLEANROOM_GUEST");
  return other != nullptr ? other : CLEANROOM_GUEST;
}

struct Ran {
  std::string out;
  std::string err;
  ExecExit exit;
};

template <typename... Arguments>
ExecInput Start(Arguments... arguments) {
  ExecInput input;
  (input.mutable_start()->add_argv(arguments), ...);
  return input;
}

ExecInput Shell(std::string script) { return Start("sh", "-c", script); }

// Boots one machine for all tests.
class Guest {
 public:
  ~Guest() {
    if (tasks_.size() > 0) {
      machine_.reset();
      Await(channel_->Close());
      while (tasks_.size() > 0) context_.run_one_for(milliseconds(100));
    }
  }

  std::string Boot() {
    auto folder = os::TempDir::Create();
    if (!folder) return folder.error().ToString();
    folder_.emplace(std::move(*folder));
    if (std::string failed = MakeImage(folder_->path()); !failed.empty()) return failed;
    auto kernel = vmm::TestKernel();
    if (!kernel) return kernel.error().ToString();
    auto initrd = vmm::TestInitramfs(*kernel, AgentPath());
    if (!initrd) return initrd.error().ToString();
    vmm::MachineSpec spec;
    spec.sandbox_id = "01kr7p9ksmfa7rmyypyqw2w8r0";
    spec.kernel = kernel->vmlinux;
    spec.initrd = *initrd;
    spec.memory_mib = 512;
    spec.slots = guest_link::kSlots;
    spec.image = folder_->path() + "/image.ext4";
    spec.disk = folder_->path() + "/disk.ext4";
    spec.tsc_khz = vmm::MeasureTscKhz().value_or(0);
    begin_ = steady_clock::now();
    auto machine = vmm::QemuBackend().Start(spec, vmm::Boot{}, {});
    if (!machine) return machine.error().ToString();
    machine_ = std::move(*machine);
    channel_ = rpc::Channel::Create(
        http::AdoptSocket(context_.get_executor(), machine_->TakeAgentStream().release()), {});
    console_fd_ = machine_->TakeConsole();
    tasks_.Spawn(ReadConsole());
    std::string failed;
    Await(Configure(failed));
    return failed.empty() ? "" : failed + "\n" + console_;
  }

  void Await(Awaitable<void> work, std::chrono::seconds limit = std::chrono::seconds(60)) {
    bool done = false;
    tasks_.Spawn(Then(std::move(work), done));
    const auto deadline = steady_clock::now() + limit;
    while (!done && steady_clock::now() < deadline) context_.run_one_for(milliseconds(100));
    ASSERT_TRUE(done) << "no answer\n" << console_;
  }

  Ran Exec(ExecInput start, std::string input = "") {
    Ran ran;
    Await(ExecInto(std::move(start), std::move(input), ran), std::chrono::seconds(120));
    return ran;
  }

  GuestStub guest() { return GuestStub(*channel_); }

  Awaitable<void> Configure(std::string& failed) {
    ConfigureRequest request;
    request.set_hostname("testbox");
    request.set_entropy(std::string(32, 'e'));
    request.set_wall_clock_ns(1'900'000'000'000'000'000);
    request.mutable_prepare()->set_image_device(std::string(guest_link::kImageSerial));
    request.mutable_prepare()->set_disk_device(std::string(guest_link::kDiskSerial));
    request.mutable_prepare()->mutable_network()->add_nameservers("10.0.2.1");
    request.add_env("PATH=/bin");
    request.set_workdir("/srv/made");
    auto response = co_await guest().Configure(request);
    if (!response) {
      failed = response.error().ToString();
      co_return;
    }
    std::cout << "boot to configured: " << MsSince(begin_) << " ms, kernel "
              << response->kernel_release() << "\n";
  }

  Awaitable<void> ExecInto(ExecInput start, std::string input, Ran& ran) {
    start.mutable_start()->set_stdin(!input.empty());
    auto stream = co_await guest().Exec();
    EXPECT_TRUE(stream);
    auto written = co_await stream->Write(start);
    EXPECT_TRUE(written);
    TaskScope writing(context_.get_executor());
    writing.Spawn(Feed(*stream, std::move(input)));
    for (;;) {
      auto next = co_await stream->Next();
      EXPECT_THAT(next, IsOk());
      if (!next || !*next) break;
      ran.out += (*next)->stdout();
      ran.err += (*next)->stderr();
      if ((*next)->has_exit()) ran.exit = (*next)->exit();
    }
    co_await writing.Join();
  }
  static Awaitable<void> Feed(Stream& stream, std::string input) {
    ExecInput message;
    for (size_t begin = 0; begin < input.size(); begin += 64 << 10) {
      message.set_stdin(input.substr(begin, 64 << 10));
      auto written = co_await stream.Write(message);
      EXPECT_TRUE(written);
    }
    (void)co_await stream.CloseWrite();
  }

  Awaitable<void> CancelDaemon() {
    auto stream = co_await guest().Exec();
    (void)co_await stream->Write(Shell("setsid sleep 987 & echo up; sleep 986"));
    for (std::string seen; seen != "up\n";) {
      auto next = co_await stream->Next();
      if (!next || !*next) break;
      seen += (*next)->stdout();
    }
    stream->Cancel();
  }

  Awaitable<void> Shutdown(Result<void>& answered) {
    auto response = co_await guest().Shutdown({});
    if (!response) answered = Err(std::move(response).error());
  }
  Awaitable<void> ConfigureAgain(ErrorCode& code) {
    auto again = co_await guest().Configure({});
    code = again.error().code();
  }
  Awaitable<void> ReadFile(std::string path, std::string& data, Result<void>& ended) {
    ReadFileRequest request;
    request.set_path(path);
    auto stream = co_await guest().ReadFile(request);
    for (;;) {
      auto next = co_await stream->Next();
      if (!next) {
        ended = Err(std::move(next).error());
        break;
      }
      if (!*next) break;
      data += (*next)->data();
    }
  }

  std::string WaitForEnd() {
    pollfd ended{machine_->pidfd(), POLLIN, 0};
    const auto deadline = steady_clock::now() + std::chrono::seconds(20);
    while (poll(&ended, 1, 0) == 0 && steady_clock::now() < deadline) {
      context_.run_one_for(milliseconds(50));
    }
    if (poll(&ended, 1, 0) != 1) return "the machine goes on\n" + console_;
    return machine_->Wait().value().ToString();
  }
  const std::string& folder() const { return folder_->path(); }
  const std::string& console() const { return console_; }

 private:
  static Awaitable<void> Then(Awaitable<void> work, bool& done) {
    co_await std::move(work);
    done = true;
  }
  Awaitable<void> ReadConsole() {
    const auto stream = http::AdoptSocket(context_.get_executor(), console_fd_.release());
    std::array<std::byte, 4096> buffer;
    for (;;) {
      const auto n = co_await stream->Read(buffer);
      if (!n || *n == 0) co_return;
      console_.append(reinterpret_cast<const char*>(buffer.data()), *n);
    }
  }

  asio::io_context context_{1};
  TaskScope tasks_{context_.get_executor()};
  std::optional<os::TempDir> folder_;
  std::unique_ptr<vmm::Machine> machine_;
  std::unique_ptr<rpc::Channel> channel_;
  os::UniqueFd console_fd_;
  std::string console_;
  steady_clock::time_point begin_;
};

class GuestAgentTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    guest_ = std::make_unique<Guest>();
    failure_ = guest_->Boot();
  }
  static void TearDownTestSuite() { guest_.reset(); }
  void SetUp() override { ASSERT_EQ(failure_, ""); }

  static std::string Out(const std::string& script) {
    const Ran ran = guest_->Exec(Shell(script));
    return ran.out + ran.err + ran.exit.message();
  }

  static std::unique_ptr<Guest> guest_;
  static std::string failure_;
};
std::unique_ptr<Guest> GuestAgentTest::guest_;
std::string GuestAgentTest::failure_;

TEST_F(GuestAgentTest, TheMachineHasItsIdentity) {
  EXPECT_EQ(Out("hostname; cat /etc/hostname"), "testbox\ntestbox\n");
  EXPECT_EQ(Out("cat /etc/resolv.conf; ls -A /run"), "nameserver 10.0.2.1\n");
  EXPECT_EQ(Out("grep -c testbox /etc/hosts; wc -c </etc/machine-id"), "1\n33\n");
  EXPECT_EQ(Out("date +%s").substr(0, 6), "190000");
  ErrorCode code{};
  guest_->Await(guest_->ConfigureAgain(code));
  EXPECT_EQ(code, ErrorCode::kFailedPrecondition);
}

TEST_F(GuestAgentTest, TheRootIsAnOverlayThatNestsNamespaces) {
  EXPECT_THAT(Out("grep ' / ' /proc/mounts"), HasSubstr("overlay"));
  // Of the image, read-only below.
  EXPECT_EQ(Out("mv /data/old /data/new && echo x >>/data/new/file && cat /data/new/file"),
            "contents\nx\n");
  // Refused by the kernel to processes in a chroot.
  EXPECT_EQ(Out("unshare -U true && unshare -m true && echo nested"), "nested\n");
  EXPECT_EQ(Out("pwd; stat -c %a /tmp; ls /dev/fd/0; ls -d /dev/shm /dev/pts/ptmx"),
            "/srv/made\n1777\n/dev/fd/0\n/dev/pts/ptmx\n/dev/shm\n");
  EXPECT_EQ(Out("cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; umask"),
            "0\n1024\n524288\n0022\n");
  EXPECT_EQ(Out("ip addr show lo | grep -c 'inet 127.0.0.1/8'"), "1\n");
}

TEST_F(GuestAgentTest, UsersAreTheImages) {
  ExecInput start = Shell("id -u; id -g; id -G; echo $HOME; echo via >/dev/stdout");
  start.mutable_start()->set_user("app");
  EXPECT_EQ(guest_->Exec(start).out, "1000\n1000\n1000 44\n/home/app\nvia\n");
}

TEST_F(GuestAgentTest, CodesAndSignals) {
  EXPECT_EQ(guest_->Exec(Shell("exit 42")).exit.exit_code(), 42);
  EXPECT_EQ(guest_->Exec(Shell("kill -SEGV $$")).exit.exit_code(), 139);
  EXPECT_EQ(guest_->Exec(Start("nothing-here")).exit.exit_code(), 127);
  EXPECT_EQ(guest_->Exec(Start("/etc/passwd")).exit.exit_code(), 126);
}

TEST_F(GuestAgentTest, TerminalsAreOfTheGuestsOwn) {
  ExecInput start = Shell("tty; stty size; ls -l $(tty) | cut -c1-10");
  start.mutable_start()->set_tty(true);
  start.mutable_start()->mutable_window()->set_rows(40);
  start.mutable_start()->mutable_window()->set_columns(100);
  EXPECT_EQ(guest_->Exec(start).out, "/dev/pts/0\r\n40 100\r\ncrw--w----\r\n");
}

TEST_F(GuestAgentTest, CancellingReachesWhatLeftTheGroup) {
  guest_->Await(guest_->CancelDaemon());
  // Killing is asynchronous to the next command.
  EXPECT_EQ(Out("while ps -o args | grep -q 'sleep 98[67]'; do sleep 0.01; done; echo gone"),
            "gone\n");
  EXPECT_EQ(Out("while ls -d /sys/fs/cgroup/x-* | grep -v \"$(cut -d/ -f2 /proc/self/cgroup)\"; "
                "do break; done"),
            "");
}

TEST_F(GuestAgentTest, OrphansAreReaped) {
  EXPECT_EQ(Out("for i in 1 2 3 4 5; do (true & ) ; done; sleep 0.2; "
                "grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l"),
            "0\n");
}

TEST_F(GuestAgentTest, FilesAreReadAsCommandsSeeThem) {
  EXPECT_EQ(Out("head -c 300000 /dev/urandom >/out; ln -s /out /link; ln -s / /loop"), "");
  std::string data;
  Result<void> ended;
  guest_->Await(guest_->ReadFile("/loop/../link", data, ended));
  EXPECT_TRUE(ended);
  EXPECT_EQ(data.size(), 300000U);
  Result<void> initramfs;
  guest_->Await(guest_->ReadFile("/init", data, initramfs));
  EXPECT_EQ(initramfs.error().code(), ErrorCode::kNotFound);
}

TEST_F(GuestAgentTest, HundredMebibytesEachWayUnchanged) {
  std::string data(100 * kMiB, '\0');
  uint64_t state = 42;
  for (char& c : data) c = static_cast<char>((state = state * 6364136223846793005 + 1) >> 56);
  auto begin = steady_clock::now();
  Ran ran = guest_->Exec(Start("cat"), data);
  std::cout << "100 MiB through cat: " << MsSince(begin) << " ms\n";
  EXPECT_TRUE(ran.out == data);
  begin = steady_clock::now();
  ran = guest_->Exec(Shell("cat >/dev/null"), data);
  std::cout << "100 MiB into the guest: " << MsSince(begin) << " ms\n";
  begin = steady_clock::now();
  ran = guest_->Exec(Shell("head -c 104857600 /dev/zero"));
  std::cout << "100 MiB out of the guest: " << MsSince(begin) << " ms\n";
  EXPECT_EQ(ran.out.size(), 100 * kMiB);
}

TEST_F(GuestAgentTest, StartsCommandsQuickly) {
  std::vector<double> times;
  for (int i = 0; i < 30; ++i) {
    const auto begin = steady_clock::now();
    EXPECT_EQ(guest_->Exec(Start("/bin/true")).exit.exit_code(), 0);
    times.push_back(MsSince(begin));
  }
  std::cout << "first exec " << times.front() << " ms";
  std::sort(times.begin(), times.end());
  std::cout << ", median " << times[times.size() / 2] << " ms, fastest " << times.front()
            << " ms\n";
}

TEST_F(GuestAgentTest, ZShutdownAnswersAndEndsTheMachine) {
  EXPECT_EQ(Out("echo kept >/kept; (trap '' TERM; sleep 1000) >/dev/null 2>&1 & sleep 0.1"), "");
  Result<void> answered;
  const auto begin = steady_clock::now();
  guest_->Await(guest_->Shutdown(answered));
  EXPECT_THAT(answered, IsOk());
  std::cout << "shutdown answered after " << MsSince(begin) << " ms\n";
  EXPECT_EQ(guest_->WaitForEnd(), "exited with code 0");
  std::cout << "ended after " << MsSince(begin) << " ms\n";
  EXPECT_THAT(guest_->console(), Not(HasSubstr("cleanroom-guest")));
  // Left as a clean unmount leaves it, with what was written.
  EXPECT_EQ(RunTool({"sh", "-c", "dumpe2fs -h \"$0\" 2>/dev/null | grep -q 'state: *clean'",
                     guest_->folder() + "/disk.ext4"}),
            "");
  EXPECT_EQ(RunTool({"e2fsck", "-fn", guest_->folder() + "/disk.ext4"}), "");
  const auto kept = os::Run({"debugfs", "-R", "cat upper/kept", guest_->folder() + "/disk.ext4"});
  EXPECT_EQ(kept->out, "kept\n");
}

}  // namespace
}  // namespace cleanroom
