#include "cli/commands/copy_place.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "os/file.h"

namespace cleanroom::cli {
namespace {

constexpr const char* kId = "01kr7p9ksmfa7rmyypyqw2w8r0";

class CopyPlaceTest : public ::testing::Test {
 protected:
  std::string In(const std::string& path) const { return top_.path() + "/" + path; }
  os::TempDir top_ = *os::TempDir::Create();
};

TEST_F(CopyPlaceTest, OneSideIsASandboxs) {
  const std::string there = std::string(kId) + ":/a:b";
  const auto in = ParseCopy("./x:y", there);
  ASSERT_TRUE(in);
  EXPECT_EQ(in->from.path, "./x:y");
  EXPECT_EQ(in->to.sandbox_id, kId);
  EXPECT_EQ(in->to.path, "/a:b");
  EXPECT_TRUE(ParseCopy(there, "x"));
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"a", "b"},
                                 {there, there},
                                 {"a", std::string(kId) + ":b"},
                                 {"x:/a", "b"},
                                 {"", there}}) {
    const auto wrong = ParseCopy(from, to);
    ASSERT_FALSE(wrong) << from << " " << to;
    EXPECT_EQ(wrong.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST_F(CopyPlaceTest, NamesAreTheLastOfAPath) {
  EXPECT_EQ(LastName("/a/b//"), "b");
  EXPECT_EQ(LastName("b"), "b");
  for (const char* none : {"/", "", ".", "/a/..", "a/."}) EXPECT_EQ(LastName(none), "") << none;
}

TEST_F(CopyPlaceTest, FilesAreFoundThroughLinksThatWereNamed) {
  ASSERT_EQ(mkdir(In("folder").c_str(), 0755), 0);
  ASSERT_EQ(symlink("two", In("one").c_str()), 0);
  ASSERT_EQ(symlink("folder/target", In("two").c_str()), 0);
  EXPECT_EQ(FindLocalFile(In("one"), "n")->name, "target");
  EXPECT_EQ(FindLocalFile(In("folder"), "n")->name, "n");
  EXPECT_EQ(FindLocalFile(In("new"), "n")->name, "new");
  EXPECT_EQ(FindLocalFile(In("new/"), "n").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(FindLocalFile(In("none/new"), "n").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(FindLocalFile(In("folder"), "").error().code(), ErrorCode::kInvalidArgument);
  ASSERT_EQ(symlink("loop", In("loop").c_str()), 0);
  EXPECT_EQ(FindLocalFile(In("loop"), "n").error().code(), ErrorCode::kInvalidArgument);
  // What lies in a folder was not named.
  ASSERT_EQ(symlink("../secret", In("folder/out").c_str()), 0);
  ASSERT_EQ(symlink("inner", In("folder/in").c_str()), 0);
  EXPECT_EQ(FindLocalFile(In("folder"), "out").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FindLocalFile(In("folder"), "in")->name, "inner");
  ASSERT_EQ(mkdir(In("folder/sub").c_str(), 0755), 0);
  EXPECT_EQ(FindLocalFile(In("folder"), "sub").error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(CopyPlaceTest, FoldersAreMadeAndNoLinkIsTaken) {
  ASSERT_TRUE(MakeLocalFolder(In("new/"), "n"));
  ASSERT_TRUE(MakeLocalFolder(In("new"), "n"));
  struct stat info = {};
  ASSERT_EQ(stat(In("new/n").c_str(), &info), 0);
  ASSERT_EQ(symlink("/", In("new/link").c_str()), 0);
  EXPECT_EQ(MakeLocalFolder(In("new"), "link").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(MakeLocalFolder(In("none/new"), "n").error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cleanroom::cli
