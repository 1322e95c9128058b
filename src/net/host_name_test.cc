#include "net/host_name.h"

#include <gtest/gtest.h>

#include <string>

#include "net/ip_address.h"

namespace cleanroom::net {
namespace {

TEST(NormalizeHost, GivesOneForm) {
  const struct {
    std::string_view text;
    std::string_view normal;
  } kCases[] = {
      {"example.com", "example.com"},
      {"API.GitHub.COM.", "api.github.com"},
      {"localhost", "localhost"},
      {"my_bucket.example.com", "my_bucket.example.com"},
      {"bücher.example", "xn--bcher-kva.example"},
      {"BÜCHER.example", "xn--bcher-kva.example"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example"},
      {"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
      {"faß.example", "xn--fa-hia.example"},       // non-transitional: ß stays
      {"例え。テスト", "xn--r8jz45g.xn--zckzah"},  // an ideographic full stop separates too
      {"3com.example", "3com.example"},
      {"1.2.3.4.example", "1.2.3.4.example"},
  };
  for (const auto& c : kCases) {
    const auto host = NormalizeHost(c.text);
    ASSERT_TRUE(host) << c.text << ": " << host.error().message();
    EXPECT_EQ(*host, c.normal);
    EXPECT_EQ(*NormalizeHost(*host), c.normal) << "normalising twice";
  }
}

TEST(NormalizeHost, Refuses) {
  const std::string long_label(64, 'a');
  const std::string long_name = std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                                std::string(63, 'c') + "." + std::string(63, 'd');
  for (const std::string& text : {std::string(),
                                  std::string("."),
                                  std::string("a..b"),
                                  std::string(".a"),
                                  std::string("a.."),
                                  std::string("-a.example"),
                                  std::string("a-.example"),
                                  std::string("a b.example"),
                                  std::string("a/b"),
                                  std::string("https://a.example"),
                                  std::string("a.example:443"),
                                  std::string("user@a.example"),
                                  std::string("1.2.3.4"),
                                  std::string("127.1"),
                                  std::string("2130706433"),
                                  std::string("0x7f.1"),
                                  std::string("a.0x7f"),
                                  std::string("[::1]"),
                                  std::string("a\0b", 3),
                                  std::string("\xff.example"),
                                  std::string("xn--a-ecp.ru\xc3"),
                                  std::string("ａ／ｂ.example"),
                                  long_label + ".example",
                                  long_name}) {
    EXPECT_FALSE(NormalizeHost(text)) << text;
  }
  EXPECT_TRUE(NormalizeHost(long_name.substr(0, 253)));
}

TEST(NormalizeWireHost, StaysAscii) {
  EXPECT_EQ(*NormalizeWireHost("XN--Bcher-KVA.Example."), "xn--bcher-kva.example");
  EXPECT_FALSE(NormalizeWireHost("bücher.example"));
}

TEST(HostPattern, ParsesAndMatches) {
  const struct {
    std::string_view pattern;
    std::string_view host;
    bool matches;
  } kCases[] = {
      {"example.com", "example.com", true},
      {"example.com", "a.example.com", false},
      {"*.example.com", "a.example.com", true},
      {"*.example.com", "example.com", false},
      {"*.example.com", "a.b.example.com", false},
      {"*.example.com", ".example.com", false},
      {"*.example.com", "aexample.com", false},
      {"*.example.com", "a.example.com.evil.org", false},
      {"*.Bücher.example.", "x.xn--bcher-kva.example", true},
      {"*.com", "example.com", true},
      {"*.com", "com", false},
  };
  for (const auto& c : kCases) {
    const auto pattern = HostPattern::Parse(c.pattern);
    ASSERT_TRUE(pattern) << c.pattern;
    EXPECT_EQ(pattern->Matches(c.host), c.matches) << c.pattern << " " << c.host;
  }
  for (std::string_view bad :
       {"*", "*.", "*example.com", "a.*.com", "*.*.com", "**.com", "a*.com", "*.1.2.3.4"}) {
    EXPECT_FALSE(HostPattern::Parse(bad)) << bad;
  }
}

TEST(IpAddress, ParsesOneForm) {
  const struct {
    std::string_view text;
    std::string_view normal;
  } kCases[] = {
      {"10.1.2.3", "10.1.2.3"},         {"::1", "::1"},
      {"2001:DB8::0:1", "2001:db8::1"}, {"::ffff:10.1.2.3", "10.1.2.3"},
      {"::FFFF:a01:203", "10.1.2.3"},
  };
  for (const auto& c : kCases) {
    const auto address = IpAddress::Parse(c.text);
    ASSERT_TRUE(address) << c.text;
    EXPECT_EQ(address->ToString(), c.normal);
  }
  for (std::string_view bad :
       {"", "127.1", "010.0.0.1", "1.2.3.4.5", "::1%eth0", "[::1]", "256.1.1.1", "g::1"}) {
    EXPECT_FALSE(IpAddress::Parse(bad)) << bad;
  }
}

TEST(Cidr, ParsesAndContains) {
  const struct {
    std::string_view block;
    std::string_view address;
    bool contains;
  } kCases[] = {
      {"10.1.0.0/16", "10.1.255.255", true},
      {"10.1.0.0/16", "10.2.0.0", false},
      {"0.0.0.0/0", "8.8.8.8", true},
      {"0.0.0.0/0", "::1", false},
      {"::/0", "8.8.8.8", false},
      {"10.0.0.0/9", "10.127.0.1", true},
      {"10.0.0.0/9", "10.128.0.1", false},
      {"fd00::/8", "fdff::1", true},
      {"fd00::/8", "fe00::1", false},
      {"10.0.0.1", "10.0.0.1", true},
      {"10.0.0.1/32", "::ffff:10.0.0.1", true},
      {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::1", false},
  };
  for (const auto& c : kCases) {
    const auto block = Cidr::Parse(c.block);
    ASSERT_TRUE(block) << c.block << block.error().message();
    EXPECT_EQ(block->Contains(*IpAddress::Parse(c.address)), c.contains)
        << c.block << " " << c.address;
  }
  for (std::string_view bad :
       {"10.1.0.0/", "10.1.0.0/33", "10.1.0.0/-1", "10.1.0.0/+8", "10.1.0.0/08", "10.0.0.0/8/8",
        "::/129", "::ffff:10.0.0.0/104", "example.com/8", "/8", ""}) {
    EXPECT_FALSE(Cidr::Parse(bad)) << bad;
  }
  EXPECT_EQ(Cidr::Parse("10.1.2.3/16").error().message(),
            "`10.1.2.3/16` has bits set after its prefix; write 10.1.0.0/16 for the block or "
            "10.1.2.3/32 for the "
            "address");
}

}  // namespace
}  // namespace cleanroom::net
