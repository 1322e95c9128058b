#include "server/network/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "os/file.h"

namespace cleanroom::server {
namespace {

using std::chrono::days;
using testing::ElementsAre;
using testing::IsEmpty;

class AuditLogTest : public testing::Test {
 protected:
  std::string Read(const std::string& name) {
    auto text = os::ReadFile(folder_.path() + "/audit/" + name, 1U << 20);
    return text ? *text : "absent";
  }
  std::filesystem::path Folder() const { return folder_.path() + "/audit"; }

  os::TempDir folder_ = std::move(*os::TempDir::Create());
  std::chrono::system_clock::time_point now_ =
      std::chrono::sys_days(std::chrono::year(2026) / 2 / 28) + std::chrono::hours(23);
};

TEST_F(AuditLogTest, HasAFileForEachDay) {
  AuditLog log(Folder(), {});
  ASSERT_TRUE(log.Append("one\n", now_));
  now_ += std::chrono::hours(2);
  ASSERT_TRUE(log.Append("two\nthree\n", now_));
  EXPECT_EQ(Read("network-2026-02-28.jsonl"), "one\n");
  EXPECT_EQ(Read("network-2026-03-01.jsonl"), "two\nthree\n");
  struct stat status{};
  ASSERT_EQ(stat((Folder() / "network-2026-02-28.jsonl").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(AuditLogTest, PiecesAreBoundedAndGoOnAfterARestart) {
  const AuditLog::Limits limits{.piece_bytes = 10};
  for (int i = 0; i < 3; ++i) {
    AuditLog log(Folder(), limits);
    ASSERT_TRUE(log.Append("12345\n", now_));
    ASSERT_TRUE(log.Append("67890\n", now_));
  }
  for (const char* name :
       {"network-2026-02-28.jsonl", "network-2026-02-28.1.jsonl", "network-2026-02-28.2.jsonl"})
    EXPECT_EQ(Read(name), "12345\n67890\n") << name;
  EXPECT_EQ(Read("network-2026-02-28.3.jsonl"), "absent");
}

TEST_F(AuditLogTest, ALineThatACrashCutStaysALine) {
  std::filesystem::create_directories(Folder());
  std::ofstream(Folder() / "network-2026-02-28.jsonl") << "{\"cut";
  AuditLog log(Folder(), {});
  ASSERT_TRUE(log.Append("whole\n", now_));
  EXPECT_EQ(Read("network-2026-02-28.jsonl"), "{\"cut\nwhole\n");
}

TEST_F(AuditLogTest, RemovesWhatIsPastItsDaysAndNothingElse) {
  AuditLog log(Folder(), {.keep = days(90)});
  const auto first = now_;
  for (int day = 0; day <= 91; ++day) ASSERT_TRUE(log.Append("line\n", first + days(day)));
  std::ofstream(Folder() / "network-2020-01-01.jsonl.bak") << "not ours";
  std::ofstream(Folder() / "notes.txt") << "not ours";
  const auto removed = log.Prune(first + days(91));
  ASSERT_TRUE(removed);
  EXPECT_THAT(*removed, ElementsAre("network-2026-02-28.jsonl"));
  EXPECT_EQ(Read("network-2026-03-01.jsonl"), "line\n");
  EXPECT_EQ(Read("notes.txt"), "not ours");
  EXPECT_EQ(Read("network-2020-01-01.jsonl.bak"), "not ours");
  EXPECT_EQ(log.Prune(first + days(1000))->size(), 91U);
}

TEST_F(AuditLogTest, TheOldestGoBeyondTheTotal) {
  AuditLog log(Folder(), {.piece_bytes = 10, .total_bytes = 25});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(log.Append("123456789\n", now_));
  const auto removed = log.Prune(now_);
  EXPECT_THAT(*removed, ElementsAre("network-2026-02-28.jsonl", "network-2026-02-28.1.jsonl"));
  EXPECT_THAT(*log.Prune(now_), IsEmpty());
}

TEST_F(AuditLogTest, NoFolderIsNoError) {
  AuditLog log(Folder(), {});
  EXPECT_THAT(*log.Prune(now_), IsEmpty());
}

}  // namespace
}  // namespace cleanroom::server
