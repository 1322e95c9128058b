#include "workspace/tree_path.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::workspace {
namespace {

TEST(TreePathTest, KnowsGitsFolderInEverySpelling) {
  for (const char* name : {".git", ".GIT", ".gIt", "git~1", "GIT~1", ".git ", ".git.", ".git . .",
                           ".git::$INDEX_ALLOCATION", ".git\\hooks", ".g\xe2\x80\x8cit",
                           "\xef\xbb\xbf.git", ".gi\xe2\x80\x8et"}) {
    EXPECT_TRUE(IsDotGit(name)) << name;
  }
  for (const char* name : {".gitignore", ".gitmodules", "git", "git~2", ".gi", "a.git", ".gitx"})
    EXPECT_FALSE(IsDotGit(name)) << name;
}

TEST(TreePathTest, TakesOnlyPlainPathsBelowTheTop) {
  for (const std::string path :
       {"a", "a/b.c", "\xc3\xa9", "new\nline", "-x", "..a", "a..", ".gitignore"})
    EXPECT_FALSE(WhyNotInTree(path)) << path;
  for (const std::string& path :
       {std::string(""), std::string("/a"), std::string("a/"), std::string("a//b"),
        std::string("."), std::string("./a"), std::string("../a"), std::string("a/../b"),
        std::string("a/.."), std::string(".git"), std::string("a/.git/config"),
        std::string("A/.GiT/hooks/x"), std::string("a\\.git\\hooks"), std::string("\xff"),
        std::string("a\0b", 3), std::string(256, 'x'), std::string(5000, 'x')}) {
    EXPECT_TRUE(WhyNotInTree(path)) << path;
  }
}

TEST(TreePathTest, LinksStayInTheTree) {
  EXPECT_FALSE(WhyNotTarget("link", "a/b"));
  EXPECT_FALSE(WhyNotTarget("a/b/link", "../../c"));
  EXPECT_FALSE(WhyNotTarget("a/link", "./x"));
  for (const auto& [path, target] : {std::pair("link", "/etc/passwd"),
                                     {"link", "../x"},
                                     {"a/link", "../../x"},
                                     {"link", "a/../../x"},
                                     {"link", ".git/hooks"},
                                     {"a/link", "../.GIT"},
                                     {"link", ""},
                                     {"link", "x/../.."}}) {
    EXPECT_TRUE(WhyNotTarget(path, target)) << path << " -> " << target;
  }
}

}  // namespace
}  // namespace cleanroom::workspace
