#include "repository/modules_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"

namespace cleanroom::repository {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As `git config --list -z` prints it.
std::string Section(const std::string& name, const std::string& path, const std::string& url) {
  const std::string key = "submodule." + name + ".";
  return key + "path\n" + path + std::string(1, '\0') + key + "url\n" + url + std::string(1, '\0');
}

TEST(ModulesFileTest, SaysWhatIsWhere) {
  const std::string other =
      std::string("core.bare\nfalse\0submodule.x.update\n!rm -r\0submodule.pathless.url\nu\0", 72);
  EXPECT_THAT(
      ParseModules(Section("b.c", "z/y", "../b") + other + Section("lib/x", "a", "https://h/x")),
      IsOkAnd(ElementsAre(Module{"lib/x", "a", "https://h/x"}, Module{"b.c", "z/y", "../b"})));
  EXPECT_THAT(ParseModules(""), IsOkAnd(ElementsAre()));
}

TEST(ModulesFileTest, RefusesWhatWouldDoHarm) {
  for (const char* word : {"..", "a/../b", "../a", "/etc", ".git", "a/.git", "a/.GIT/hooks",
                           "-option", "a//b", "a/", ".", "a\tb", "a\\b", "git~1"}) {
    EXPECT_THAT(ParseModules(Section("n", word, "u")), HasError(ErrorCode::kDataCorrupt)) << word;
    EXPECT_THAT(ParseModules(Section(word, "p", "u")), HasError(ErrorCode::kDataCorrupt)) << word;
  }
  EXPECT_THAT(ParseModules(Section("n", "", "u")), HasError(ErrorCode::kDataCorrupt));
  EXPECT_THAT(ParseModules(Section(std::string(2000, 'n'), "p", "u")),
              HasError(ErrorCode::kDataCorrupt));
  EXPECT_THAT(ParseModules(std::string("submodule.n.path\0", 17)),
              HasError(ErrorCode::kDataCorrupt));
}

TEST(ModulesFileTest, RefusesTwoOfOneNameOrPlace) {
  EXPECT_THAT(ParseModules(Section("a", "p", "u") + Section("b", "p", "v")),
              HasError(ErrorCode::kDataCorrupt, HasSubstr("path of another")));
  EXPECT_THAT(ParseModules(Section("a", "p", "u") + Section("a", "q", "u")),
              HasError(ErrorCode::kDataCorrupt, HasSubstr("two paths")));
  EXPECT_THAT(ParseModules(Section("a", "p", "u") + Section("b", "p/q/r", "v")),
              HasError(ErrorCode::kDataCorrupt, HasSubstr("in the folder of another")));
  EXPECT_THAT(ParseModules(Section("a", "p", "u") + Section("a/objects", "q", "v")),
              HasError(ErrorCode::kDataCorrupt, HasSubstr("in the folder of another")));
  EXPECT_THAT(ParseModules(Section("a", "p", "u") + Section("a-b", "p-q", "v")), IsOk());
}

TEST(ModulesFileTest, HasLimits) {
  std::string many;
  for (size_t i = 0; i <= kMaxModules; ++i)
    many += Section("n" + std::to_string(i), "p" + std::to_string(i), "u");
  EXPECT_THAT(ParseModules(many), HasError(ErrorCode::kResourceExhausted));
}

}  // namespace
}  // namespace cleanroom::repository
