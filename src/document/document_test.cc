#include "document/document.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::document {
namespace {

// The first diagnostic of a document that must be refused.
std::string YamlError(std::string_view text) {
  const ReadResult result = ReadYaml(text, "f.yaml");
  return result ? "accepted" : Format(result.error().front());
}

TEST(ReadYaml, GivesATreeWithPlaces) {
  const ReadResult result = ReadYaml("a:\n  - 1\n  - \"2\"\nb: {c: ~}\n", "f.yaml");
  ASSERT_TRUE(result);
  ASSERT_EQ(result->entries.size(), 2u);
  const Node& list = result->entries[0].value;
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(list.items[0].text, "1");
  EXPECT_TRUE(list.items[0].plain);
  EXPECT_FALSE(list.items[1].plain);
  EXPECT_EQ(list.items[1].line, 3);
  EXPECT_EQ(list.items[1].column, 5);
  EXPECT_TRUE(result->entries[1].value.entries[0].value.IsNull());
}

TEST(ReadYaml, RefusesWithItsPlace) {
  const struct {
    std::string_view text;
    std::string_view error;
  } kCases[] = {
      {"", "f.yaml:1:1: the file is empty"},
      {"# only a comment\n", "f.yaml:1:1: the file is empty"},
      {"a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key `a`; keep one of the two"},
      {"a: [1, 2\n", "f.yaml:2:1: not valid YAML: did not find expected ',' or ']'"},
      {"a: 1\n\tb: 2\n",
       "f.yaml:2:1: not valid YAML: found a tab character that violates indentation"},
      {"a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document; keep one"},
      {"a: !!str 1\n", "f.yaml:1:4: the tag `tag:yaml.org,2002:str` is not supported; remove it"},
      {"a: !x {}\n", "f.yaml:1:4: the tag `!x` is not supported; remove it"},
      {"x: &x {a: 1}\ny:\n  <<: *x\n",
       "f.yaml:3:3: merge keys are not supported; write the keys out"},
      {"? [a]\n: 1\n", "f.yaml:1:3: a list or map cannot be a key"},
      {"a: *b\n", "f.yaml:1:4: the alias `*b` refers to nothing before it"},
      {"a: &a [*a]\n", "f.yaml:1:8: the alias `*a` refers to nothing before it"},
      {"k: \"\xff\"\n", "f.yaml:1:5: not valid UTF-8"},
      {"k: \xed\xa0\x80\n", "f.yaml:1:4: not valid UTF-8"},
      {"a: 1\nk: \x01\n", "f.yaml:2:4: control character 0x01; remove it"},
      {"k: \"a\\0b\"\n", "f.yaml:1:4: a control character; only newline and tab are text"},
      {"k: \"a\\eb\"\n", "f.yaml:1:4: a control character; only newline and tab are text"},
  };
  for (const auto& c : kCases) EXPECT_EQ(YamlError(c.text), c.error) << c.text;
}

TEST(ReadYaml, WritesAliasesOut) {
  const ReadResult result = ReadYaml("a: &x {k: [v]}\nb: *x\n", "f.yaml");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->entries[1].value.entries[0].value.items[0].text, "v");
}

TEST(ReadYaml, BoundsWhatAliasesRepeat) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j ? ",*a" : "*a") + std::to_string(i - 1);
    bomb += "]\n";
  }
  EXPECT_NE(YamlError(bomb).find("more than 50000 values, counting what aliases repeat"),
            std::string::npos)
      << YamlError(bomb);

  std::string wide = "a: &a " + std::string(60'000, 'x') + "\nb: [";
  for (int i = 0; i < 100; ++i) wide += "*a, ";
  EXPECT_NE(YamlError(wide + "1]\n").find("bytes of text, counting what aliases repeat"),
            std::string::npos);
}

TEST(ReadYaml, BoundsSizeAndDepth) {
  EXPECT_EQ(YamlError(std::string(kMaxDocumentBytes + 1, '#')),
            "f.yaml:1:1: the file has 1048577 bytes; at most 1048576 are read");
  EXPECT_EQ(YamlError(std::string(33, '[')), "f.yaml:1:33: nested more than 32 levels deep");
  EXPECT_TRUE(ReadYaml(std::string(32, '[') + std::string(32, ']'), "f.yaml"));
  // Hostile nesting at full size is refused without being walked.
  EXPECT_EQ(YamlError(std::string(kMaxDocumentBytes, '[')),
            "f.yaml:1:33: nested more than 32 levels deep");
  EXPECT_EQ(YamlError(std::string(kMaxDocumentBytes, '{')),
            "f.yaml:1:2: a list or map cannot be a key");
  std::string block;
  for (int i = 0; i < 40; ++i) block += std::string(i, ' ') + "a:\n";
  EXPECT_NE(YamlError(block).find("nested more than 32 levels deep"), std::string::npos);
}

TEST(ReadYaml, ReportsManyDuplicatesOnce) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "a: 1\n";
  const ReadResult result = ReadYaml(text, "f.yaml");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().size(), kMaxDiagnostics);
}

TEST(ReadJson, ReadsAndRefuses) {
  const ReadResult result = ReadJson(R"({"a":[1,true,null,"x\u00e9"]})", "p");
  ASSERT_TRUE(result);
  const Node& list = result->entries[0].value;
  EXPECT_EQ(list.items[0].text, "1");
  EXPECT_TRUE(list.items[1].plain);
  EXPECT_TRUE(list.items[2].IsNull());
  EXPECT_EQ(list.items[3].text, "xé");

  for (std::string_view bad :
       {"", "{", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "{} x", "[1,]"}) {
    EXPECT_FALSE(ReadJson(bad, "p")) << bad;
  }
  EXPECT_FALSE(ReadJson(std::string(kMaxDocumentBytes, '['), "p"));
  EXPECT_FALSE(ReadJson("[" + std::string(200'000, ' ') + std::string(33, '['), "p"));
}

TEST(Nearest, SuggestsOnlyWhatIsNear) {
  EXPECT_EQ(Nearest("sandox", {"sandbox", "version"}), "sandbox");
  EXPECT_EQ(Nearest("alow", {"allow", "deny"}), "allow");
  EXPECT_EQ(Nearest("zzz", {"allow", "deny"}), "");
}

}  // namespace
}  // namespace cleanroom::document
