#include "warden_link/spool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace cleanroom::warden_link {
namespace {

class SpoolTest : public testing::Test {
 protected:
  SpoolTest() {
    std::string name = testing::TempDir() + "spoolXXXXXX";
    dir_ = mkdtemp(name.data());
    file_ = dir_ / "e.log";
  }
  ~SpoolTest() override { std::filesystem::remove_all(dir_); }
  std::filesystem::path dir_, file_;
};

TEST_F(SpoolTest, ReplaysInOrderAndFollowsFromAnyOffset) {
  auto writer = SpoolWriter::Create(file_).value();
  ASSERT_TRUE(writer.Append(FrameKind::kStdout, "one").has_value());
  auto reader = SpoolReader::Open(file_).value();
  const auto first = reader.Next().value().value();
  EXPECT_EQ(first.payload, "one");
  EXPECT_FALSE(reader.Next().value().has_value());

  const std::string binary("\0\xff\n", 3);
  ASSERT_TRUE(writer.Append(FrameKind::kStderr, binary).has_value());
  ASSERT_TRUE(writer.Append(FrameKind::kEnd, "").has_value());
  const auto second = reader.Next().value().value();
  EXPECT_EQ(second.kind, FrameKind::kStderr);
  EXPECT_EQ(second.payload, binary);

  auto resumed = SpoolReader::Open(file_, first.next_offset).value();
  EXPECT_EQ(resumed.Next().value()->payload, binary);
  EXPECT_EQ(resumed.Next().value()->kind, FrameKind::kEnd);
}

TEST_F(SpoolTest, TornFrameReadsAsNotYet) {
  auto writer = SpoolWriter::Create(file_).value();
  ASSERT_TRUE(writer.Append(FrameKind::kStdout, "whole").has_value());
  ASSERT_TRUE(writer.Append(FrameKind::kStdout, "torn").has_value());
  std::filesystem::resize_file(file_, static_cast<uintmax_t>(writer.size()) - 1);
  auto reader = SpoolReader::Open(file_).value();
  EXPECT_EQ(reader.Next().value()->payload, "whole");
  EXPECT_FALSE(reader.Next().value().has_value());
}

TEST_F(SpoolTest, RefusesWhatIsNoRecord) {
  EXPECT_EQ(SpoolReader::Open(dir_ / "absent").error().code(), ErrorCode::kNotFound);
  std::ofstream(file_) << "something else";
  EXPECT_EQ(SpoolReader::Open(file_).error().code(), ErrorCode::kDataCorrupt);
  EXPECT_EQ(SpoolWriter::Create(file_).error().code(), ErrorCode::kAlreadyExists);
}

TEST_F(SpoolTest, RefusesAnOffsetInsideAFrame) {
  auto writer = SpoolWriter::Create(file_).value();
  ASSERT_TRUE(writer.Append(FrameKind::kStdout, std::string(64, '\xee')).has_value());
  auto reader = SpoolReader::Open(file_, kSpoolStart + 14).value();
  EXPECT_EQ(reader.Next().error().code(), ErrorCode::kDataCorrupt);
}

}  // namespace
}  // namespace cleanroom::warden_link
