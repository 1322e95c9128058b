#include "cli/terminal/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "os/unique_fd.h"

namespace cleanroom::cli {
namespace {

// A pseudo-terminal: the near side is what the program under test has as its terminal.
struct Pty {
  os::UniqueFd master;
  os::UniqueFd terminal;
};

Pty OpenPty() {
  Pty pty;
  pty.master.reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_EQ(grantpt(pty.master.get()), 0);
  EXPECT_EQ(unlockpt(pty.master.get()), 0);
  pty.terminal.reset(open(ptsname(pty.master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_TRUE(pty.terminal.valid());
  return pty;
}

bool IsRaw(int fd) {
  termios mode = {};
  EXPECT_EQ(tcgetattr(fd, &mode), 0);
  return (mode.c_lflag & (ECHO | ICANON | ISIG)) == 0 && (mode.c_oflag & OPOST) == 0;
}

TEST(TerminalTest, RawModeComesAndGoes) {
  const Pty pty = OpenPty();
  ASSERT_FALSE(IsRaw(pty.terminal.get()));
  {
    auto raw = RawMode::Enter(pty.terminal.get());
    ASSERT_TRUE(raw.has_value());
    EXPECT_TRUE(IsRaw(pty.terminal.get()));
    raw->Restore(RawMode::Typed::kKeep);
    EXPECT_FALSE(IsRaw(pty.terminal.get()));
  }
  {
    auto raw = RawMode::Enter(pty.terminal.get());
    ASSERT_TRUE(raw.has_value());
  }
  EXPECT_FALSE(IsRaw(pty.terminal.get()));
}

TEST(TerminalTest, ReenterPutsRawModeBack) {
  const Pty pty = OpenPty();
  termios cooked = {};
  ASSERT_EQ(tcgetattr(pty.terminal.get(), &cooked), 0);
  auto raw = RawMode::Enter(pty.terminal.get());
  ASSERT_TRUE(raw.has_value());
  ASSERT_EQ(tcsetattr(pty.terminal.get(), TCSANOW, &cooked), 0);
  raw->Reenter();
  EXPECT_TRUE(IsRaw(pty.terminal.get()));
}

// Enters raw mode in a child that then ends in its own way; the terminal must be as before.
void ExpectRestoredAfter(void (*end)()) {
  const Pty pty = OpenPty();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto raw = RawMode::Enter(pty.terminal.get());
    if (!raw || !IsRaw(pty.terminal.get())) _exit(99);
    end();
    _exit(98);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) >= 98) << "status " << status;
  EXPECT_FALSE(IsRaw(pty.terminal.get()));
}

TEST(TerminalTest, RestoredAtExit) {
  ExpectRestoredAfter([] { std::exit(3); });
}
TEST(TerminalTest, RestoredWhenTheProcessAborts) {
  ExpectRestoredAfter([] { std::abort(); });
}
TEST(TerminalTest, RestoredWhenTheProcessCrashes) {
  ExpectRestoredAfter([] { raise(SIGSEGV); });
}

TEST(TerminalTest, APipeIsNoTerminal) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const os::UniqueFd read_end(ends[0]);
  const os::UniqueFd write_end(ends[1]);
  const auto raw = RawMode::Enter(read_end.get());
  ASSERT_FALSE(raw.has_value());
  EXPECT_EQ(raw.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(GetTerminalSize(read_end.get()), std::nullopt);
}

TEST(TerminalTest, KnowsItsSize) {
  const Pty pty = OpenPty();
  EXPECT_EQ(GetTerminalSize(pty.terminal.get()), std::nullopt);  // 0x0: not told yet
  const winsize size = {.ws_row = 33, .ws_col = 120, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(ioctl(pty.master.get(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(GetTerminalSize(pty.terminal.get()), (TerminalSize{33, 120}));
}

}  // namespace
}  // namespace cleanroom::cli
