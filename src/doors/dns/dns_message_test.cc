#include "doors/dns/dns_message.h"

#include <gtest/gtest.h>

#include <string>

#include "doors/dns/dns_name.h"

namespace cleanroom::doors::wire {
namespace {

using namespace std::string_literals;  // NOLINT: wire forms hold NULs

std::vector<uint8_t> Wire(std::string_view text) { return {text.begin(), text.end()}; }

std::string U16(size_t value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

std::string Name(std::string_view text) {
  const auto wire = NameFromText(text);
  EXPECT_TRUE(wire.has_value()) << text;
  return {wire->begin(), wire->end()};
}

std::string Header(size_t flags, size_t questions, size_t answers, size_t authority,
                   size_t additional) {
  return U16(0x1234) + U16(flags) + U16(questions) + U16(answers) + U16(authority) +
         U16(additional);
}

std::string Question(std::string_view name, size_t type, size_t klass = 1) {
  return Name(name) + U16(type) + U16(klass);
}

// `owner` in wire form: a name, or a pointer.
std::string Record(const std::string& owner, size_t type, const std::string& data,
                   size_t ttl = 300) {
  return owner + U16(type) + U16(1) + U16(ttl >> 16) + U16(ttl) + U16(data.size()) + data;
}

const std::string kPointer = "\xc0\x0c";
const std::string kOpt = "\0\0\x29\x04\xd0\0\0\0\0\0\0"s;

TEST(DnsQueryTest, ReadsAQuestion) {
  const auto query = ParseQuery(Wire(Header(0x0120, 1, 0, 0, 1) + Question("Api.Example.COM", 28) +
                                     "\0\0\x29\x10\x01\0\0\x80\0\0\x0c\0\x0a\0\x08"s + "12345678"));
  ASSERT_TRUE(query.has_value()) << query.error().problem;
  EXPECT_EQ(query->id, 0x1234);
  EXPECT_TRUE(query->recursion_desired);
  EXPECT_TRUE(query->edns);
  EXPECT_EQ(query->udp_payload, 4096);  // 4097 was asked for
  EXPECT_EQ(query->name, "Api.Example.COM");
  EXPECT_EQ(query->type, dns_type::kAaaa);
  EXPECT_EQ(query->question, Wire(Question("Api.Example.COM", 28)));

  const auto plain = ParseQuery(Wire(Header(0, 1, 0, 0, 0) + Question(".", 2)));
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->name, ".");
  EXPECT_FALSE(plain->recursion_desired);
  EXPECT_FALSE(plain->edns);
  EXPECT_EQ(plain->udp_payload, 512);
}

TEST(DnsQueryTest, NeedsEveryByte) {
  const auto whole = Wire(Header(0x0100, 1, 0, 0, 1) + Question("a.example", 1) + kOpt);
  ASSERT_TRUE(ParseQuery(whole).has_value());
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto cut = ParseQuery(Bytes(whole).first(size));
    ASSERT_FALSE(cut.has_value()) << size;
    EXPECT_EQ(cut.error().answer, size >= 12) << size;
    EXPECT_EQ(cut.error().rcode, Rcode::kFormErr);
  }
}

TEST(DnsQueryTest, RefusesWhatIsNoPlainQuestion) {
  struct Case {
    std::string message;
    bool answer;
    Rcode rcode;
  };
  const std::string a = Question("a.example", 1);
  const std::string label63(63, 'a');
  const std::string too_long = label63 + "." + label63 + "." + label63 + "." + label63;
  std::string long_name;
  for (int i = 0; i < 4; ++i) long_name += "\x3f" + label63;
  const Case cases[] = {
      {Header(0x8100, 1, 0, 0, 0) + a, false, Rcode::kFormErr},  // a response
      {Header(0x2000, 1, 0, 0, 0) + a, true, Rcode::kNotImp},    // NOTIFY
      {Header(0x2800, 0, 0, 0, 0), true, Rcode::kNotImp},        // UPDATE
      {Header(0x0300, 1, 0, 0, 0) + a, true, Rcode::kFormErr},   // truncated
      {Header(0, 0, 0, 0, 0), true, Rcode::kFormErr},
      {Header(0, 2, 0, 0, 0) + a + a, true, Rcode::kFormErr},
      {Header(0, 1, 1, 0, 0) + a + Record(kPointer, 1, "\1\2\3\4"), true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 1) + a + Record(kPointer, 16, "\4data"), true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 2) + a + kOpt + kOpt, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + a + "x", true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + Question("a.example", 1, 3), true, Rcode::kNotImp},
      {Header(0, 1, 0, 0, 0) + Question("a.example", 41), true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + kPointer + "\0\1\0\1"s, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + "\1a\xc0\x0c\0\1\0\1"s, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + "\x40"s + std::string(64, 'a') + "\0\0\1\0\1"s, true,
       Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + long_name + "\0\0\1\0\1"s, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + "\3a.b\0\0\1\0\1"s, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 0) + "\3a b\0\0\1\0\1"s, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 1) + a + "\0\0\x29\x04\xd0\0\1\0\0\0\0"s, true, Rcode::kBadVers},
      {Header(0, 1, 0, 0, 1) + a + "\0\0\x29\x04\xd0\0\0\0\0\0\3\0\1\0"s, true, Rcode::kFormErr},
      {Header(0, 1, 0, 0, 1) + a + "\1a\0\0\x29\x04\xd0\0\0\0\0\0\0"s, true, Rcode::kFormErr},
  };
  EXPECT_FALSE(NameFromText(too_long).has_value());
  for (const Case& test : cases) {
    const auto query = ParseQuery(Wire(test.message));
    ASSERT_FALSE(query.has_value()) << testing::PrintToString(test.message);
    EXPECT_EQ(query.error().answer, test.answer) << query.error().problem;
    EXPECT_EQ(query.error().rcode, test.rcode) << query.error().problem;
    EXPECT_NE(query.error().problem, "");
  }
}

TEST(DnsQueryTest, BadQueriesAreAnswered) {
  BadQuery bad{.answer = true, .id = 0x1234, .opcode = 5, .rcode = Rcode::kNotImp, .problem = ""};
  EXPECT_EQ(WriteBadQueryResponse(bad), Wire(Header(0xa884, 0, 0, 0, 0)));
  bad.opcode = 0;
  bad.rcode = Rcode::kBadVers;
  EXPECT_EQ(WriteBadQueryResponse(bad),
            Wire(Header(0x8080, 0, 0, 0, 1) + "\0\0\x29\x04\xd0\1\0\0\0\0\0"s));
}

TEST(DnsQueryTest, WhatIsWrittenIsRead) {
  const auto query = ParseQuery(WriteQuery(7, "wWw.exAmple.com", 65));
  ASSERT_TRUE(query.has_value());
  EXPECT_EQ(query->id, 7);
  EXPECT_EQ(query->name, "wWw.exAmple.com");
  EXPECT_EQ(query->udp_payload, kUdpPayload);
  EXPECT_TRUE(query->recursion_desired);
  for (const std::string& bad : {""s, ".."s, "a..b"s, std::string(64, 'a'), "\\25"s, "\\999"s}) {
    EXPECT_TRUE(WriteQuery(7, bad, 1).empty()) << bad;
  }
}

Result<DnsAnswer> Parse(std::string_view message, std::string_view name = "a.example",
                        uint16_t type = 1) {
  return ParseAnswer(Wire(message), 0x1234, name, type);
}

TEST(DnsAnswerTest, FollowsCnamesWhateverTheirOrder) {
  const std::string question = Question("a.example", 1);  // example: at 14
  const auto answer = Parse(
      Header(0x8180, 1, 5, 0, 1) + question + Record("\1c\xc0\x0e"s, 1, "\1\2\3\5") +
      Record(Name("beside.example"), 1, "\6\6\6\6") +
      Record(Name("B.example"), 5, Name("C.example")) + Record(kPointer, 5, "\1b\xc0\x0e"s, 60) +
      Record(Name("c.EXAMPLE"), 1, "\1\2\3\4", 0x80000001) + kOpt);
  ASSERT_TRUE(answer.has_value()) << answer.error().message();
  ASSERT_EQ(answer->answers.size(), 4U);
  EXPECT_EQ(answer->answers[0].name, "a.example");
  EXPECT_EQ(answer->answers[0].target, "b.example");
  EXPECT_EQ(answer->answers[0].ttl, 60U);
  EXPECT_EQ(answer->answers[0].data, Wire(Name("b.example")));
  EXPECT_EQ(answer->answers[1].target, "C.example");
  EXPECT_EQ(answer->answers[2].address->ToString(), "1.2.3.5");
  EXPECT_EQ(answer->answers[3].address->ToString(), "1.2.3.4");
  EXPECT_EQ(answer->answers[3].ttl, 0U);
}

TEST(DnsAnswerTest, NegativeAnswersKeepTheirSoa) {
  const std::string soa = Name("ns.example") + Name("a\\046b.example") + std::string(20, '\1');
  const auto nx = Parse(Header(0x8183, 1, 0, 2, 0) + Question("a.example", 1) +
                        Record(Name("other"), 6, soa) + Record(Name("example"), 6, soa));
  ASSERT_TRUE(nx.has_value()) << nx.error().message();
  EXPECT_EQ(nx->rcode, Rcode::kNxDomain);
  ASSERT_EQ(nx->authority.size(), 1U);
  EXPECT_EQ(nx->authority[0].name, "example");
  EXPECT_EQ(nx->authority[0].data, Wire(soa));

  const auto positive = Parse(Header(0x8180, 1, 1, 1, 0) + Question("a.example", 1) +
                              Record(kPointer, 1, "\1\2\3\4") + Record(Name("example"), 6, soa));
  ASSERT_TRUE(positive.has_value());
  EXPECT_TRUE(positive->authority.empty());
}

TEST(DnsAnswerTest, CodesAndTruncation) {
  const std::string question = Question("a.example", 1);
  EXPECT_EQ(Parse(Header(0x8185, 1, 0, 0, 0) + question)->rcode, Rcode::kRefused);
  EXPECT_EQ(Parse(Header(0x8189, 1, 0, 0, 0) + question)->rcode, Rcode::kServFail);
  EXPECT_EQ(Parse(Header(0x8180, 1, 0, 0, 1) + question + "\0\0\x29\x04\xd0\1\0\0\0\0\0"s)->rcode,
            Rcode::kServFail);
  const auto cut = Parse(Header(0x8380, 1, 3, 0, 0) + question + "\xc0");
  ASSERT_TRUE(cut.has_value());
  EXPECT_TRUE(cut->truncated);
  EXPECT_TRUE(cut->answers.empty());
}

TEST(DnsAnswerTest, NamesInDataAreWrittenInFull) {
  struct Case {
    uint16_t type;
    std::string data, expected;
  };
  const std::string owner = Name("a.example");
  const std::string svcb = "\0\1"s + owner;
  const std::string alpn = "\0\1\0\3\2h2"s;
  const Case cases[] = {
      {2, kPointer, owner},
      {12, "\1p"s + kPointer, Name("p.a.example")},
      {15, "\0\x0a"s + kPointer, "\0\x0a"s + owner},
      {33, "\0\1\0\2\0\3"s + kPointer, "\0\1\0\2\0\3"s + owner},
      {35, "\0\1\0\2\1u\3E2U\0"s + kPointer, "\0\1\0\2\1u\3E2U\0"s + owner},
      {6, kPointer + kPointer + std::string(20, 'x'), owner + owner + std::string(20, 'x')},
      {16, "\3abc\0\1d"s, "\3abc\0\1d"s},
      {257, "\0\5issueca.example"s, "\0\5issueca.example"s},
      {64, "\0\0"s + kPointer, "\0\0"s + owner},
      // ipv4hint, ech and ipv6hint go.
      {65,
       "\0\1"s + kPointer + alpn + "\0\3\0\2\1\xbb\0\4\0\4\1\2\3\4\0\5\0\1x\0\6\0\x10"s +
           std::string(16, '6') + "\0\7\0\0"s,
       svcb + alpn + "\0\3\0\2\1\xbb\0\7\0\0"s},
      {65, "\0\1"s + kPointer + "\0\0\0\2\0\1"s + alpn, svcb + "\0\0\0\2\0\1"s + alpn},
  };
  for (const Case& test : cases) {
    const auto answer = Parse(Header(0x8180, 1, 1, 0, 0) + Question("a.example", test.type) +
                                  Record(kPointer, test.type, test.data),
                              "a.example", test.type);
    ASSERT_TRUE(answer.has_value()) << test.type << answer.error().message();
    ASSERT_EQ(answer->answers.size(), 1U) << test.type;
    EXPECT_EQ(answer->answers[0].data, Wire(test.expected)) << test.type;
  }
  // An HTTPS record that cannot be used without what was taken from it; types that do not pass.
  const std::string mandatory = "\0\1"s + kPointer + "\0\0\0\4\0\1\0\5"s + alpn + "\0\5\0\1x"s;
  for (const auto& [type, data] : std::vector<std::pair<uint16_t, std::string>>{
           {65, mandatory}, {46, "anything"}, {43, ""}, {10, "null"}}) {
    const auto answer = Parse(
        Header(0x8180, 1, 1, 0, 0) + Question("a.example", type) + Record(kPointer, type, data),
        "a.example", type);
    ASSERT_TRUE(answer.has_value()) << type;
    EXPECT_TRUE(answer->answers.empty()) << type;
  }
}

TEST(DnsAnswerTest, RefusesHostileMessages) {
  const std::string question = Question("a.example", 1);
  const std::string one = Header(0x8180, 1, 1, 0, 0) + question;
  const size_t at = one.size();
  std::string many = Header(0x8180, 1, 300, 0, 0) + question;
  for (int i = 0; i < 300; ++i) many += Record(kPointer, 1, "\1\2\3\4");
  std::string hops = Header(0x8180, 1, 2, 0, 0) + question;  // a chain of pointers in TXT data
  std::string chain(1, '\0');
  const size_t chain_at = hops.size() + 13;
  for (int i = 0; i < 100; ++i)
    chain += U16(0xc000 | (chain_at + (i == 0 ? 0 : 1 + (static_cast<size_t>(i) - 1) * 2)));
  hops += Record(kPointer, 16, U16(static_cast<size_t>(chain.size()) & 0xff).substr(1) + chain);
  hops += Record(U16(0xc000 | (chain_at + 1 + size_t{99} * 2)), 1, "\1\2\3\4");
  std::string long_chain = Header(0x8180, 1, 18, 0, 0) + question;
  std::string previous = "a.example";
  for (int i = 0; i < 18; ++i) {
    const std::string next = "n" + std::to_string(i) + ".example";
    long_chain += Record(Name(previous), 5, Name(next));
    previous = next;
  }
  const std::string cases[] = {
      "",
      "\x12\x34",
      U16(0x1235) + one.substr(2) + Record(kPointer, 1, "\1\2\3\4"),
      Header(0x0100, 1, 0, 0, 0) + question,
      Header(0x9180, 1, 0, 0, 0) + question,
      Header(0x8180, 0, 0, 0, 0),
      Header(0x8180, 2, 0, 0, 0) + question + question,
      Header(0x8180, 1, 0, 0, 0) + Question("A.example", 1),
      Header(0x8180, 1, 0, 0, 0) + Question("a.example", 28),
      Header(0x8180, 1, 0, 0, 0) + Question("a.example", 1, 3),
      Header(0x8180, 1, 0, 0, 0) + question + "x",
      one,
      one + Record(U16(0xc000 | at), 1, "\1\2\3\4"),          // a pointer to itself
      one + Record(U16(0xc000 | (at + 2)), 1, "\1\2\3\4"),    // forward
      one + Record(U16(0xffff), 1, "\1\2\3\4"),               // outside
      one + Record("\1a" + U16(0xc000 | at), 1, "\1\2\3\4"),  // a loop
      one + Record("\x80", 1, "\1\2\3\4"),                    // an unknown kind of label
      one + Record(kPointer, 1, "\1\2\3"),
      one + Record(kPointer, 1, "\1\2\3\4\5"),
      one + Record(kPointer, 28, "\1\2\3\4"),
      one + Record(kPointer, 5, kPointer + "x"),
      one + Record(kPointer, 5,
                   "\x3f"
                   "abc"),
      one + Record(kPointer, 5, kPointer),  // an alias of itself
      one + Record(kPointer, 15, "\0"s),
      one + Record(kPointer, 16, "\4abc"),
      one + Record(kPointer, 16, ""),
      one + Record(kPointer, 257, "\0\0issue"s),
      one + Record(kPointer, 65, "\0\1\0\0\3\0\0\0\1\0\0"s),  // keys out of order
      one + Record(kPointer, 65, "\0\1\0\0\3\0\5x"s),
      one + Record(kPointer, 41, ""),
      one + Record(kPointer, 1, "\1\2\3\4").substr(0, 14),
      Header(0x8180, 1, 0, 0, 2) + question + kOpt + kOpt,
      many,
      hops,
      long_chain,
  };
  for (const std::string& message : cases) {
    const auto answer = Parse(message);
    ASSERT_FALSE(answer.has_value()) << testing::PrintToString(message);
    EXPECT_EQ(answer.error().code(), ErrorCode::kDataCorrupt);
  }
}

DnsRecord Make(std::string name, uint16_t type, uint32_t ttl, std::vector<uint8_t> data) {
  DnsRecord record;
  record.name = std::move(name);
  record.type = type;
  record.ttl = ttl;
  record.data = std::move(data);
  return record;
}

TEST(DnsResponseTest, WritesWhatItReads) {
  const auto query = ParseQuery(Wire(Header(0x0100, 1, 0, 0, 1) + Question("A.eXample", 1) + kOpt));
  ASSERT_TRUE(query.has_value());
  DnsAnswer answer;
  answer.answers = {Make("a.example", 5, 9, Wire(Name("b.x\\032y"))),
                    Make("b.x\\032y", 1, 8, {1, 2, 3, 4})};
  const auto bytes = WriteResponse(*query, answer, std::nullopt, 512);
  EXPECT_EQ(bytes, Wire(Header(0x8180, 1, 2, 0, 1) + Question("A.eXample", 1) +
                        Record(kPointer, 5, "\1b\3x y\0"s, 9) +
                        Record("\1b\3x y\0"s, 1, "\1\2\3\4", 8) + kOpt));
  const auto read = ParseAnswer(bytes, 0x1234, "A.eXample", 1);
  ASSERT_TRUE(read.has_value()) << read.error().message();
  ASSERT_EQ(read->answers.size(), 2U);
  EXPECT_EQ(read->answers[0].target, "b.x\\032y");
}

TEST(DnsResponseTest, ARefusalSaysWhyToWhoSpeaksEdns) {
  const ExtendedError error{.code = 15, .text = std::string(199, 'x') + "é"};
  DnsAnswer refused;
  refused.rcode = Rcode::kRefused;
  const std::string question = Question("a.example", 1);
  const auto edns = ParseQuery(Wire(Header(0x0100, 1, 0, 0, 1) + question + kOpt));
  const auto bytes = WriteResponse(*edns, refused, error, 512);
  EXPECT_EQ(bytes,
            Wire(Header(0x8185, 1, 0, 0, 1) + question +
                 "\0\0\x29\x04\xd0\0\0\0\0\0\xcd\0\x0f\0\xc9\0\x0f"s + std::string(199, 'x')));
  const auto plain = ParseQuery(Wire(Header(0, 1, 0, 0, 0) + question));
  EXPECT_EQ(WriteResponse(*plain, refused, error, 512),
            Wire(Header(0x8085, 1, 0, 0, 0) + question));
}

TEST(DnsResponseTest, WhatDoesNotFitIsCut) {
  const auto query = ParseQuery(Wire(Header(0, 1, 0, 0, 0) + Question("a.example", 1)));
  DnsAnswer answer;
  for (uint8_t i = 0; i < 40; ++i) {
    answer.answers.push_back(Make("a.example", 1, 1, {10, 0, 0, i}));
  }
  const size_t whole = 12 + 15 + 40 * 16;
  EXPECT_EQ(WriteResponse(*query, answer, std::nullopt, whole).size(), whole);
  const auto cut = WriteResponse(*query, answer, std::nullopt, whole - 1);
  EXPECT_EQ(cut, Wire(Header(0x8280, 1, 0, 0, 0) + Question("a.example", 1)));
}

TEST(DnsTypeTest, Names) {
  EXPECT_EQ(DnsTypeName(1), "A");
  EXPECT_EQ(DnsTypeName(65), "HTTPS");
  EXPECT_EQ(DnsTypeName(1234), "TYPE1234");
}

}  // namespace
}  // namespace cleanroom::doors::wire
