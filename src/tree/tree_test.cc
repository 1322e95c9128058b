// Trees of files and tars of them, with the real tar as the other side.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/testing/result_matchers.h"
#include "os/file.h"
#include "tree/names.h"
#include "tree/packer.h"
#include "tree/remover.h"
#include "tree/unpacker.h"
#include "tree/walk.h"

namespace cleanroom::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(mkdir(In("a").c_str(), 0755), 0);
    ASSERT_EQ(mkdir(In("out").c_str(), 0755), 0);
  }
  std::string In(const std::string& path) const { return top_.path() + "/" + path; }
  os::UniqueFd Folder(const std::string& path) const { return *os::OpenDir(In(path)); }
  void Put(const std::string& path, const std::string& text) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) {
      ASSERT_TRUE(os::MakeDirs(In(path.substr(0, slash)), 0755));
    }
    std::ofstream file(In(path));
    file << text;
    ASSERT_TRUE(file.flush().good()) << path;
  }
  std::string Get(const std::string& path) const {
    return os::ReadFile(In(path), 64 << 20).value_or("(none)");
  }
  struct stat Look(const std::string& path) const {
    struct stat info = {};
    EXPECT_EQ(lstat(In(path).c_str(), &info), 0) << path;
    return info;
  }
  int Shell(const std::string& command) const {
    return std::system(("cd '" + top_.path() + "' && " + command).c_str());
  }
  Packer Pack(const std::string& folder) const {
    const auto open = [this](const std::string& path) -> Result<Packer::Start> {
      return Packer::Start{.folder = Folder(path), .name = ".", .path = ""};
    };
    return Packer({folder}, open, Mounts::kData);
  }
  static Result<std::string> Drain(Packer& packer) {
    std::string tar;
    for (bool more = true; more;) {
      std::string part;
      auto filled = packer.Fill(part, 4096);
      if (!filled) return Err(std::move(filled).error());
      tar += part;
      more = *filled;
    }
    return tar;
  }
  Result<void> Unpack(const std::string& tar, const std::string& folder,
                      size_t piece = 1000) const {
    Unpacker unpacker(Folder(folder), {});
    for (size_t at = 0; at < tar.size(); at += piece) {
      CR_TRY(unpacker.Feed(std::string_view(tar).substr(at, piece)));
    }
    return unpacker.Finish();
  }
  static std::string Entry(const std::string& path, TarType type, const std::string& content = "",
                           const std::string& target = "") {
    std::string tar = TarHeader({.path = path,
                                 .type = type,
                                 .size = content.size(),
                                 .permissions = 0644,
                                 .mtime = {.tv_sec = 1'000'000'000, .tv_nsec = 0},
                                 .target = target});
    return tar + content + std::string(TarPadding(content.size()), '\0');
  }
  static std::string Ended(const std::string& tar) { return tar + std::string(kTarEndBytes, '\0'); }

  os::TempDir top_ = *os::TempDir::Create();
};

TEST_F(TreeTest, WhatIsPackedComesBack) {
  const std::string long_name(255, 'n');
  const std::string odd("new\nline\xff\xfe");
  Put("a/empty", "");
  Put("a/big", std::string(300'001, 'x'));
  Put("a/deep/er/" + long_name, "1");
  Put("a/deep/" + odd, "2");
  Put("a/caf\xc3\xa9", "3");
  ASSERT_EQ(chmod(In("a/big").c_str(), 04751), 0);
  ASSERT_EQ(symlink("../nowhere", In("a/link").c_str()), 0);
  ASSERT_EQ(link(In("a/big").c_str(), In("a/zname").c_str()), 0);
  ASSERT_EQ(mkfifo(In("a/fifo").c_str(), 0600), 0);
  ASSERT_EQ(Shell("truncate -s 1M a/sparse && touch -d @1234567890.25 a/big a/deep && "
                  "touch -d @-5.75 a/empty"),
            0);
  ASSERT_EQ(chmod(In("a/deep").c_str(), 0555), 0);
  Packer packer = Pack("a");
  const auto tar = Drain(packer);
  ASSERT_THAT(tar, IsOk());
  ASSERT_THAT(Unpack(*tar, "out"), IsOk());
  EXPECT_EQ(Get("out/empty"), "");
  EXPECT_TRUE(Get("out/big") == std::string(300'001, 'x'));
  EXPECT_EQ(Get("out/deep/er/" + long_name), "1");
  EXPECT_EQ(Get("out/deep/" + odd), "2");
  EXPECT_EQ(Get("out/caf\xc3\xa9"), "3");
  EXPECT_EQ(Look("out/sparse").st_size, 1 << 20);
  EXPECT_EQ(Look("out/big").st_ino, Look("out/zname").st_ino);
  EXPECT_EQ(Look("out/big").st_mode & 07777, 04751U);
  EXPECT_EQ(Look("out/deep").st_mode & 07777, 0555U);
  EXPECT_EQ(Look("out/big").st_mtim.tv_nsec, 250'000'000);
  EXPECT_EQ(Look("out/deep").st_mtim.tv_sec, 1234567890);
  EXPECT_EQ(Look("out/empty").st_mtim.tv_sec, -6);
  EXPECT_EQ(Look("out/empty").st_mtim.tv_nsec, 250'000'000);
  EXPECT_TRUE(S_ISLNK(Look("out/link").st_mode));
  EXPECT_EQ(access(In("out/fifo").c_str(), F_OK), -1);
  // The same tree is the same tar, and whatever the pieces.
  Packer again = Pack("a");
  EXPECT_TRUE(*Drain(again) == *tar);
  ASSERT_EQ(mkdir(In("out2").c_str(), 0755), 0);
  ASSERT_THAT(Unpack(*tar, "out2", 7), IsOk());
  ASSERT_EQ(Shell("rm a/fifo && diff -r --no-dereference a out2 >/dev/null"), 0);
  // And over itself, where the files are.
  ASSERT_THAT(Unpack(*tar, "out2"), IsOk());
  ASSERT_EQ(Shell("diff -r --no-dereference a out2 >/dev/null && chmod 755 */deep"), 0);
}

TEST_F(TreeTest, TheRealTarAgrees) {
  const std::string deep = "a/" + std::string(90, 'd') + "/" + std::string(60, 'e');
  Put(deep + "/file", "deep");
  Put("a/\xe2\x82\xac", "euro");
  ASSERT_EQ(symlink(std::string(150, 't').c_str(), In("a/link").c_str()), 0);
  Packer packer = Pack("a");
  ASSERT_TRUE(os::WriteFileAtomic(In("ours.tar"), Drain(packer).value()));
  ASSERT_EQ(Shell("tar xf ours.tar -C out && diff -r --no-dereference a out"), 0);
  for (const std::string format : {"gnu", "pax", "ustar --exclude=link", "v7 --exclude='*'"}) {
    ASSERT_EQ(Shell("tar cf theirs.tar --format=" + format + " -C a . 2>/dev/null"), 0) << format;
    const std::string to = "to-" + format.substr(0, 3);
    ASSERT_EQ(mkdir(In(to).c_str(), 0755), 0);
    EXPECT_THAT(Unpack(Get("theirs.tar"), to), IsOk()) << format;
  }
  EXPECT_EQ(Shell("diff -r --no-dereference a to-gnu && diff -r --no-dereference a to-pax"), 0);
  EXPECT_EQ(Get("to-ust" + deep.substr(1) + "/file"), "deep");
}

TEST_F(TreeTest, NothingLeadsOutOfTheFolder) {
  Put("secret", "mine");
  ASSERT_EQ(symlink("..", In("out/up").c_str()), 0);
  ASSERT_EQ(symlink("../secret", In("out/file").c_str()), 0);
  const auto code = [this](const std::string& tar) {
    const auto done = Unpack(Ended(tar), "out");
    return done ? ErrorCode::kCanceled : done.error().code();
  };
  EXPECT_EQ(code(Entry("/x", TarType::kFile)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("a/../../x", TarType::kFile)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("up/x", TarType::kFile)), ErrorCode::kAlreadyExists);
  EXPECT_EQ(code(Entry("up/x", TarType::kFolder)), ErrorCode::kAlreadyExists);
  EXPECT_EQ(code(Entry("up", TarType::kFolder)), ErrorCode::kAlreadyExists);
  EXPECT_EQ(code(Entry("s", TarType::kSymlink, "", "..") + Entry("s/x", TarType::kFile)),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(code(Entry("h", TarType::kHardLink, "", "../secret")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("h", TarType::kHardLink, "", "/secret")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("h", TarType::kHardLink, "", "up/secret")), ErrorCode::kNotFound);
  EXPECT_EQ(code(Entry("h", TarType::kHardLink, "", "none")), ErrorCode::kNotFound);
  EXPECT_EQ(code(Entry("d", TarType::kDevice)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("d", TarType::kFifo)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry(std::string(256, 'l'), TarType::kFile)), ErrorCode::kInvalidArgument);
  // A link is replaced, not written through.
  EXPECT_THAT(Unpack(Ended(Entry("file", TarType::kFile, "new")), "out"), IsOk());
  EXPECT_EQ(Get("out/file"), "new");
  EXPECT_EQ(Get("secret"), "mine");
  EXPECT_EQ(access(In("x").c_str(), F_OK), -1);
}

TEST_F(TreeTest, FoldersAndFilesDoNotReplaceEachOther) {
  Put("out/folder/kept", "kept");
  Put("out/file", "kept");
  ASSERT_EQ(chmod(In("out/folder").c_str(), 0711), 0);
  EXPECT_EQ(Unpack(Ended(Entry("folder", TarType::kFile, "x")), "out").error().code(),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(Unpack(Ended(Entry("folder", TarType::kSymlink, "", "x")), "out").error().code(),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(Unpack(Ended(Entry("file", TarType::kFolder)), "out").error().code(),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(Unpack(Ended(Entry("file/x", TarType::kFile)), "out").error().code(),
            ErrorCode::kAlreadyExists);
  EXPECT_THAT(
      Unpack(Ended(Entry("folder", TarType::kFolder) + Entry("./", TarType::kFolder)), "out"),
      IsOk());
  EXPECT_EQ(Look("out/folder").st_mode & 07777, 0711U);
  EXPECT_EQ(Get("out/folder/kept"), "kept");
}

TEST_F(TreeTest, ATarThatEndsEarlyLeavesNoHalfFile) {
  Put("out/old", "old");
  const std::string whole = Ended(Entry("new", TarType::kFile, std::string(5000, 'n')));
  const std::string over = Ended(Entry("old", TarType::kFile, std::string(5000, 'n')));
  for (const std::string& tar : {whole, over}) {
    EXPECT_EQ(Unpack(tar.substr(0, 2000), "out").error().code(), ErrorCode::kDataCorrupt);
  }
  EXPECT_THAT(*SortedNames(Folder("out").get(), 10), ElementsAre("old"));
  EXPECT_EQ(Get("out/old"), "old");
  EXPECT_EQ(Unpack("", "out").error().code(), ErrorCode::kDataCorrupt);
  std::string bent = whole;
  bent[0] = 'N';
  EXPECT_EQ(Unpack(bent, "out").error().code(), ErrorCode::kDataCorrupt);
  EXPECT_EQ(Unpack(std::string(1024, 'z'), "out").error().code(), ErrorCode::kDataCorrupt);
}

TEST_F(TreeTest, AFileThatChangesIsNamedAtTheEnd) {
  Put("a/1", std::string(10'000, '1'));
  Put("a/2", "after");
  Packer packer = Pack("a");
  std::string tar;
  ASSERT_THAT(packer.Fill(tar, 3000), IsOk());
  ASSERT_EQ(truncate(In("a/1").c_str(), 100), 0);
  for (;;) {
    const auto more = packer.Fill(tar, tar.size() + 512);
    if (more) {
      ASSERT_TRUE(*more);
      continue;
    }
    EXPECT_EQ(more.error().code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(more.error().message(), HasSubstr("1 changed"));
    break;
  }
  ASSERT_THAT(Unpack(tar, "out"), IsOk());
  EXPECT_EQ(Look("out/1").st_size, 10'000);
  EXPECT_EQ(Get("out/2"), "after");
}

TEST_F(TreeTest, WalksInOrderAndWithinItsLimits) {
  Put("a/b/2", "");
  Put("a/b/1", "");
  Put("a/b.x", "");
  ASSERT_EQ(symlink(".", In("a/loop").c_str()), 0);
  std::vector<std::string> paths;
  const os::UniqueFd folder = Folder("a");
  Walk again(folder.get(), ".", Mounts::kData);
  for (;;) {
    const auto found = again.Next();
    ASSERT_THAT(found, IsOk());
    if (*found == nullptr) break;
    paths.push_back((*found)->path);
  }
  EXPECT_THAT(paths, ElementsAre("", "b", "b/1", "b/2", "b.x", "loop"));
  Walk few(folder.get(), ".", Mounts::kData, {.max_entries = 2, .max_depth = 9});
  ASSERT_THAT(few.Next(), IsOk());
  EXPECT_EQ(few.Next().error().code(), ErrorCode::kResourceExhausted);
  Walk missing(folder.get(), "none", Mounts::kData);
  EXPECT_EQ(missing.Next().error().code(), ErrorCode::kNotFound);
}

TEST_F(TreeTest, VirtualFileSystemsAreNotEntered) {
  const os::UniqueFd root = *os::OpenDir("/");
  Walk walk(root.get(), "proc", Mounts::kData);
  const auto first = walk.Next();
  ASSERT_THAT(first, IsOk());
  EXPECT_FALSE((*first)->has_data);
  EXPECT_EQ(*walk.Next(), nullptr);
}

TEST_F(TreeTest, RemovesWithoutFollowing) {
  Put("a/b/c/d", "");
  Put("kept", "kept");
  ASSERT_EQ(symlink("../../kept", In("a/b/link").c_str()), 0);
  ASSERT_EQ(symlink("../..", In("a/b/up").c_str()), 0);
  for (int i = 0; i < 700; ++i) Put("a/many/" + std::to_string(i), "");
  Remover flat(Folder("."), "a", "/a");
  EXPECT_EQ(flat.Step(false).error().code(), ErrorCode::kFailedPrecondition);
  Remover remover(Folder("."), "a", "/a");
  int steps = 1;
  for (;; ++steps) {
    const auto more = remover.Step(true);
    ASSERT_THAT(more, IsOk());
    if (!*more) break;
  }
  EXPECT_GT(steps, 1);
  EXPECT_EQ(access(In("a").c_str(), F_OK), -1);
  EXPECT_EQ(Get("kept"), "kept");
  Remover none(Folder("."), "a", "/a");
  EXPECT_EQ(none.Step(true).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cleanroom::tree
