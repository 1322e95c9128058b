#include "ext4/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "base/testing/result_matchers.h"
#include "ext4/inode_numbers.h"
#include "ext4/read_file.h"
#include "tests/support/command.h"
#include "tests/support/file_tree.h"

namespace cleanroom::ext4 {
namespace {

using archive::EntryType;
using testing::RunScript;

archive::TarEntry Entry(EntryType type, const std::string& path, const std::string& target = "") {
  archive::TarEntry out;
  out.type = type;
  out.path = path;
  out.target = target;
  out.permissions = type == EntryType::kFolder ? 0755 : 0644;
  out.mtime = 1'600'000'000;
  return out;
}

class WriterTest : public ::testing::Test {
 protected:
  void Finish(std::string_view identity = "test") {
    Result<Writer> writer = Writer::Create(file_);
    ASSERT_THAT(writer, IsOk());
    ASSERT_THAT(writer->Finish(tree_, identity), IsOk());
    const auto check = RunScript("e2fsck -fn " + file_);
    EXPECT_EQ(check.status, 0) << check.output;
  }

  testing::TestFolder folder_;
  std::string file_ = folder_ / "layer.ext4";
  Tree tree_{archive::Limits{}};
};

TEST_F(WriterTest, InodeNumbersAreKnownBeforehand) {
  for (const char* path : {"z", "a/b/c", "a/b/a", "a/x"})
    ASSERT_THAT(tree_.Add(Entry(EntryType::kFile, path)), IsOk());
  const Result<Tree::NodeId> node = tree_.Add(Entry(EntryType::kFile, "a/b/m"));
  ASSERT_THAT(node, IsOk());
  const uint32_t number = InodeNumbers(tree_)[*node];
  Finish();
  const auto stat = RunScript("debugfs -R 'stat a/b/m' " + file_ + " 2>/dev/null | head -1");
  EXPECT_THAT(stat.output, ::testing::StartsWith("Inode: " + std::to_string(number) + " "));
}

TEST_F(WriterTest, SmallFilesCanBeReadBack) {
  {
    Result<Writer> writer = Writer::Create(file_);
    ASSERT_THAT(writer, IsOk());
    archive::TarEntry entry = Entry(EntryType::kFile, "etc/passwd");
    const std::string text = "root:x:0:0::/:\n";
    entry.size = text.size();
    const Result<Tree::NodeId> node = tree_.Add(entry);
    ASSERT_THAT(node, IsOk());
    ASSERT_THAT(
        writer->Write(0, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size())),
        IsOk());
    auto extents = writer->EndFile();
    ASSERT_THAT(extents, IsOk());
    tree_.node(*node).extents = *std::move(extents);
    ASSERT_THAT(tree_.Add(Entry(EntryType::kSymlink, "link", "/etc/passwd")), IsOk());
    ASSERT_THAT(tree_.Add(Entry(EntryType::kSymlink, "loop", "loop")), IsOk());
    ASSERT_THAT(writer->Finish(tree_, "test"), IsOk());
  }
  EXPECT_EQ(ReadFile(file_, "/etc/passwd", 100).value(), "root:x:0:0::/:\n");
  EXPECT_EQ(ReadFile(file_, "/link", 100).value(), "root:x:0:0::/:\n");
  EXPECT_THAT(ReadFile(file_, "/etc/passwd", 3), HasError(ErrorCode::kResourceExhausted));
  EXPECT_THAT(ReadFile(file_, "/etc", 100), HasError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(ReadFile(file_, "/etc/group", 100), HasError(ErrorCode::kNotFound));
  EXPECT_FALSE(ReadFile(file_, "/loop", 100));
}

TEST_F(WriterTest, OverlayMarksGoIn) {
  archive::TarEntry opaque = Entry(EntryType::kFolder, "new");
  opaque.xattrs = {{"trusted.overlay.opaque", "y"}};
  ASSERT_THAT(tree_.Add(opaque), IsOk());
  ASSERT_THAT(tree_.Add(Entry(EntryType::kCharDevice, "gone")), IsOk());
  Finish();
  const auto tree = testing::ListExt4(file_);
  EXPECT_THAT(tree.at("gone"), ::testing::EndsWith("device=0:0"));
  EXPECT_THAT(tree.at("new"), ::testing::EndsWith("trusted.overlay.opaque=79"));
}

TEST_F(WriterTest, AddTakesNamesAsTheyAre) {
  ASSERT_THAT(tree_.Add(Entry(EntryType::kFile, "d/.wh.x")), IsOk());
  ASSERT_THAT(tree_.Add(Entry(EntryType::kFile, "d/.wh..wh..opq")), IsOk());
  ASSERT_THAT(tree_.Add(Entry(EntryType::kFolder, "d/")), IsOk());
  Finish();
  const auto tree = testing::ListExt4(file_);
  EXPECT_TRUE(tree.contains("d/.wh.x"));
  EXPECT_TRUE(tree.contains("d/.wh..wh..opq"));
}

TEST_F(WriterTest, AddGoesThroughNoLinkAndReplacesNothing) {
  ASSERT_THAT(tree_.Add(Entry(EntryType::kSymlink, "link", "elsewhere")), IsOk());
  ASSERT_THAT(tree_.Add(Entry(EntryType::kFolder, "elsewhere")), IsOk());
  for (const char* path : {"link/x", "link", "elsewhere", "../x", "/x", ""})
    EXPECT_THAT(tree_.Add(Entry(EntryType::kFile, path)), HasError(ErrorCode::kDataCorrupt))
        << path;
}

}  // namespace
}  // namespace cleanroom::ext4
