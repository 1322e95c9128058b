#include "cli/terminal/terminal_session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include "os/unique_fd.h"

namespace cleanroom::cli {
namespace {

using std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(20);
constexpr std::string_view kSwitchedOn = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kSwitchedOff = "\x1b[?25h\x1b[?1049l";

class TerminalSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    master_.reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_EQ(grantpt(master_.get()), 0);
    ASSERT_EQ(unlockpt(master_.get()), 0);
    terminal_.reset(open(ptsname(master_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal_.valid());
  }

  bool IsRaw() const {
    termios mode = {};
    EXPECT_EQ(tcgetattr(terminal_.get(), &mode), 0);
    return (mode.c_lflag & (ECHO | ICANON | ISIG)) == 0;
  }
  int Unread() const {
    int count = 0;
    EXPECT_EQ(ioctl(terminal_.get(), FIONREAD, &count), 0);
    return count;
  }
  // The kernel carries what is typed to the terminal in the background.
  void Type(std::string_view text) const {
    ASSERT_EQ(write(master_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    const auto deadline = steady_clock::now() + kPatience;
    while (Unread() < static_cast<int>(text.size()) && steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    ASSERT_EQ(Unread(), static_cast<int>(text.size()));
  }
  // What the terminal shows, once `text` is part of it.
  std::string ShownUntil(std::string_view text) const {
    std::string shown;
    const auto deadline = steady_clock::now() + kPatience;
    while (shown.find(text) == std::string::npos && steady_clock::now() < deadline) {
      pollfd item = {.fd = master_.get(), .events = POLLIN, .revents = 0};
      if (poll(&item, 1, 100) != 1) continue;
      std::array<char, 4096> buffer{};
      const ssize_t n = read(master_.get(), buffer.data(), buffer.size());
      if (n > 0) shown.append(buffer.data(), static_cast<size_t>(n));
    }
    return shown;
  }
  // A process that has a session on the terminal, has shown kSwitchedOn, and waits to be killed.
  pid_t StartSession() const {
    const pid_t child = fork();
    if (child == 0) {
      auto session = TerminalSession::Begin(terminal_.get(), terminal_.get());
      if (!session) _exit(99);
      session->Watch(kSwitchedOn);
      (void)!write(terminal_.get(), kSwitchedOn.data(), kSwitchedOn.size());
      for (;;) pause();
    }
    EXPECT_NE(ShownUntil(kSwitchedOn).find(kSwitchedOn), std::string::npos);
    EXPECT_TRUE(IsRaw());
    return child;
  }

  os::UniqueFd master_;
  os::UniqueFd terminal_;
};

TEST_F(TerminalSessionTest, AnOrderlyEndLeavesTheScreenAndWhatWasTyped) {
  auto session = TerminalSession::Begin(terminal_.get(), terminal_.get());
  ASSERT_TRUE(session.has_value());
  EXPECT_TRUE(IsRaw());
  session->Watch(kSwitchedOn);
  Type("next\n");
  session->End(SessionEnd::kOrderly);
  EXPECT_FALSE(IsRaw());
  EXPECT_EQ(Unread(), 5);
  ASSERT_EQ(write(terminal_.get(), "$", 1), 1);
  EXPECT_EQ(ShownUntil("$").find('\x1b'), std::string::npos);
}

TEST_F(TerminalSessionTest, ABrokenEndTidiesUp) {
  {
    auto session = TerminalSession::Begin(terminal_.get(), terminal_.get());
    ASSERT_TRUE(session.has_value());
    session->Watch(kSwitchedOn);
    Type("rm -rf x\n");
  }
  EXPECT_FALSE(IsRaw());
  EXPECT_EQ(Unread(), 0);
  EXPECT_EQ(ShownUntil(kSwitchedOff), kSwitchedOff);
}

TEST_F(TerminalSessionTest, ABrokenEndEndsTheLine) {
  {
    auto session = TerminalSession::Begin(terminal_.get(), terminal_.get());
    ASSERT_TRUE(session.has_value());
    session->Watch("guest$ ");
  }
  EXPECT_EQ(ShownUntil("\n"), "\r\n");
}

TEST_F(TerminalSessionTest, KilledItIsTidiedUpByItsGuard) {
  const pid_t child = StartSession();
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(ShownUntil(kSwitchedOff), kSwitchedOff);
  EXPECT_FALSE(IsRaw());
}

TEST_F(TerminalSessionTest, TheGuardLeavesAShellsOwnModeAlone) {
  const pid_t child = StartSession();
  termios shells = {};
  ASSERT_EQ(tcgetattr(terminal_.get(), &shells), 0);
  shells.c_lflag |= ISIG;  // as a line editor at its prompt has it
  ASSERT_EQ(tcsetattr(terminal_.get(), TCSANOW, &shells), 0);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(ShownUntil(kSwitchedOff), kSwitchedOff);
  termios now = {};
  ASSERT_EQ(tcgetattr(terminal_.get(), &now), 0);
  EXPECT_EQ(now.c_lflag, shells.c_lflag);
}

TEST_F(TerminalSessionTest, NoProcessStaysBehind) {
  {
    auto session = TerminalSession::Begin(terminal_.get(), terminal_.get());
    ASSERT_TRUE(session.has_value());
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(TerminalSessionTest, AFileIsToldNothing) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const os::UniqueFd read_end(ends[0]);
  {
    const os::UniqueFd write_end(ends[1]);
    auto session = TerminalSession::Begin(terminal_.get(), write_end.get());
    ASSERT_TRUE(session.has_value());
    session->Watch(kSwitchedOn);
  }
  char byte = 0;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 0);
}

}  // namespace
}  // namespace cleanroom::cli
