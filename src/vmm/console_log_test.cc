#include "vmm/console_log.h"

#include <gtest/gtest.h>

#include "os/file.h"
#include "os/socket.h"

namespace cleanroom::vmm {
namespace {

class ConsoleLogTest : public testing::Test {
 protected:
  void SetUp() override { dir_.emplace(*os::TempDir::Create()); }
  ConsoleLog Create(size_t max_bytes) { return *ConsoleLog::Create(Path(), max_bytes); }
  std::string Path() const { return dir_->path() + "/console.log"; }
  std::string Contents(const std::string& path) const {
    return os::ReadFile(path, 1 << 20).value_or("missing");
  }
  std::optional<os::TempDir> dir_;
};

TEST_F(ConsoleLogTest, KeepsTheNewestWithinTheLimit) {
  ConsoleLog log = Create(20);
  ASSERT_TRUE(log.Append("0123456789"));
  EXPECT_EQ(Contents(Path()), "0123456789");
  ASSERT_TRUE(log.Append("abcde"));
  EXPECT_EQ(Contents(Path()), "abcde");
  EXPECT_EQ(Contents(Path() + ".1"), "0123456789");
  ASSERT_TRUE(log.Append(std::string(1000, 'x') + "end"));
  EXPECT_LE(Contents(Path()).size() + Contents(Path() + ".1").size(), 20U);
  EXPECT_TRUE(Contents(Path()).ends_with("end"));
}

TEST_F(ConsoleLogTest, StartsAnew) {
  ASSERT_TRUE(Create(10).Append("0123456789abc"));
  ConsoleLog log = Create(10);
  EXPECT_EQ(Contents(Path()), "");
  EXPECT_EQ(Contents(Path() + ".1"), "missing");
}

TEST_F(ConsoleLogTest, LastLinesArePrintable) {
  ConsoleLog log = Create(1 << 16);
  ASSERT_TRUE(log.Append("one\r\n\r\n\x1b[31mred\x07\xff\xc3\xa4\xc2\x9b\nlast"));
  EXPECT_EQ(log.LastLines(2), "?[31mred??\xc3\xa4??\nlast");
  EXPECT_EQ(log.LastLines(99).substr(0, 4), "one\n");
  EXPECT_EQ(log.LastLines(0), "");
  EXPECT_EQ(Printable(std::string(5000, 'x')).size(), ConsoleLog::kMaxLineBytes);
}

TEST_F(ConsoleLogTest, FindsAPanicThatComesInPieces) {
  ConsoleLog log = Create(1 << 16);
  ASSERT_TRUE(log.Append("[ 1.0] Kernel pan"));
  ASSERT_TRUE(log.Append("ic - not syncing: VFS: cannot"));
  EXPECT_FALSE(log.panic());
  ASSERT_TRUE(log.Append(" mount\x1b root\r\n" + std::string(100'000, '\n')));
  ASSERT_TRUE(log.panic());
  EXPECT_EQ(*log.panic(), "VFS: cannot mount? root");
}

TEST_F(ConsoleLogTest, ReadsUntilTheEnd) {
  ConsoleLog log = Create(1 << 16);
  auto pair = os::SocketPair();
  ASSERT_TRUE(os::WriteAll(pair->second.get(), "hello\n", "peer"));
  pair->second.reset();
  EXPECT_FALSE(*log.ReadFrom(pair->first.get()));
  EXPECT_EQ(log.LastLines(1), "hello");
}

}  // namespace
}  // namespace cleanroom::vmm
