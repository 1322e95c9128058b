#include "base/image_ref.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/testing/result_matchers.h"

namespace cleanroom {
namespace {

const std::string kDigest =
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(ImageRef, Parses) {
  const struct {
    std::string text;
    std::string registry;
    std::string repository;
    std::string tag;
    std::string digest;
  } kCases[] = {
      {"alpine", "docker.io", "library/alpine", "", ""},
      {"alpine:3.20", "docker.io", "library/alpine", "3.20", ""},
      {"team/app", "docker.io", "team/app", "", ""},
      {"docker.io/alpine", "docker.io", "library/alpine", "", ""},
      {"index.docker.io/library/alpine", "docker.io", "library/alpine", "", ""},
      {"localhost/app", "localhost", "app", "", ""},
      {"localhost:5000/app:v1", "localhost:5000", "app", "v1", ""},
      {"localhost:5000", "docker.io", "library/localhost", "5000", ""},
      {"127.0.0.1:5000/a/b@" + kDigest, "127.0.0.1:5000", "a/b", "", kDigest},
      {"[::1]:5000/app", "[::1]:5000", "app", "", ""},
      {"Registry.Example.COM/a__b/c-.d", "", "", "", ""},
      {"Registry.Example.COM/a__b/c--d.e", "registry.example.com", "a__b/c--d.e", "", ""},
      {"HOST/app", "", "", "", ""},  // in lower case it would be another image
      {"example.com/app:tag_1.-x@" + kDigest, "example.com", "app", "tag_1.-x", kDigest},
  };
  for (const auto& c : kCases) {
    const auto ref = ImageRef::Parse(c.text);
    if (c.registry.empty()) {
      EXPECT_FALSE(ref) << c.text;
      continue;
    }
    ASSERT_TRUE(ref) << c.text << ": " << ref.error().message();
    EXPECT_EQ(ref->registry, c.registry) << c.text;
    EXPECT_EQ(ref->repository, c.repository) << c.text;
    EXPECT_EQ(ref->tag, c.tag) << c.text;
    EXPECT_EQ(ref->digest, c.digest) << c.text;
    const auto again = ImageRef::Parse(ref->ToString());
    ASSERT_TRUE(again) << ref->ToString();
    EXPECT_EQ(*again, *ref);
  }
}

TEST(ImageRef, Refuses) {
  for (const std::string& text : {std::string(),
                                  std::string("Alpine"),
                                  std::string("a//b"),
                                  std::string("/a"),
                                  std::string("a/"),
                                  std::string("a:"),
                                  std::string("a@"),
                                  std::string("a@sha256:abc"),
                                  std::string("a@md5:" + std::string(64, 'a')),
                                  std::string("a@sha256:" + std::string(64, 'A')),
                                  fmt::format("a@{0}@{0}", kDigest),
                                  std::string("https://example.com/a"),
                                  std::string("example.com:0/a"),
                                  std::string("example.com:65536/a"),
                                  std::string("example.com:x/a"),
                                  std::string("-example.com/a"),
                                  std::string("example..com/a"),
                                  std::string("example.com/../a"),
                                  std::string("example.com/a___b"),
                                  std::string("a b"),
                                  std::string("a:-tag"),
                                  std::string("a:" + std::string(129, 't')),
                                  std::string(256, 'a'),
                                  std::string("example.com/" + std::string(256, 'a')),
                                  std::string(2000, 'a'),
                                  std::string("[::1/a"),
                                  std::string("[1.2.3.4]/a"),
                                  std::string("a\0b", 3)}) {
    EXPECT_FALSE(ImageRef::Parse(text)) << text;
  }
}

TEST(ImageRef, ShortNamesOfThisMachine) {
  EXPECT_EQ(ImageRef::Parse("debian:12", kLocalRegistry)->ToString(), "localhost/debian:12");
  EXPECT_EQ(ImageRef::Parse("a/b", kLocalRegistry)->ToString(), "localhost/a/b");
  EXPECT_EQ(ImageRef::Parse("host.example/a", kLocalRegistry)->ToString(), "host.example/a");
  EXPECT_EQ(ImageRef::Parse("host.example/a:1")->Pinned(kDigest), "host.example/a@" + kDigest);
}

TEST(ImageRef, TheLongestParsesAgainInFull) {
  const std::string longest(255, 'a');
  const auto ref = ImageRef::Parse(fmt::format("{}:{}@{}", longest, std::string(128, 't'), kDigest),
                                   kLocalRegistry);
  ASSERT_THAT(ref, IsOk());
  EXPECT_EQ(*ImageRef::Parse(ref->ToString()), *ref);
}

TEST(ImageRef, SaysHowToPin) {
  EXPECT_TRUE(ImageRef::ParsePinned("alpine@" + kDigest));
  EXPECT_EQ(ImageRef::ParsePinned("example.com/a:1").error().message(),
            "`example.com/a:1` names a tag where a digest is due; `cleanroom image resolve "
            "example.com/a:1` prints the "
            "pinned reference");
  EXPECT_EQ(ImageRef::Parse("alpine")->TagOrLatest(), "latest");
  EXPECT_EQ(ImageRef::Parse("alpine@" + kDigest)->TagOrLatest(), "");
}

}  // namespace
}  // namespace cleanroom
