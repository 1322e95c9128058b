#include "doors/wire/http2_inspector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "doors/wire/http2_frame.h"
#include "doors/wire/http_syntax.h"

namespace cleanroom::doors::wire {
namespace {

using namespace std::string_literals;  // NOLINT: frames hold NULs
using Outcome = Http2Inspector::Outcome;
using Fields = std::vector<std::pair<std::string, std::string>>;

struct Seen {
  Outcome outcome = Outcome::kGoOn;
  uint32_t stream = 0;
  std::string forward, problem;
  std::vector<std::string> asked;
  bool operator==(const Seen&) const = default;
};

// What becomes of the client's `bytes` in pieces of `step`, the first of `first`, when the server
// has sent `server` before. "bad" is refused.
Seen Feed(const std::string& bytes, size_t first, size_t step, const std::string& server) {
  Seen seen;
  Http2Inspector inspector([&seen](std::string_view host, uint16_t port) {
    seen.asked.push_back(std::string(host) + ":" + std::to_string(port));
    return !host.starts_with("bad");
  });
  for (size_t at = 0; at < server.size(); at += step) {
    inspector.FromServer(std::string_view(server).substr(at, step));
  }
  EXPECT_TRUE(inspector.at_server_boundary());
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = std::min(at == 0 ? first : step, bytes.size() - at);
    const auto result = inspector.FromClient(std::string_view(bytes).substr(at, count));
    seen.outcome = result.outcome;
    seen.forward += result.forward;
    at += count;
  }
  seen.stream = inspector.stream();
  seen.problem = inspector.problem();
  return seen;
}

Seen FeedAll(const std::string& bytes, const std::string& server = "") {
  const Seen whole = Feed(bytes, bytes.size(), 1, server);
  if (bytes.size() > 4000) return whole;
  for (size_t first = 1; first <= bytes.size(); ++first) {
    EXPECT_EQ(Feed(bytes, first, bytes.size(), server), whole) << first;
  }
  for (size_t step = 1; step < 12; ++step) {
    EXPECT_EQ(Feed(bytes, step, step, server), whole) << step;
  }
  return whole;
}

std::string Integer(size_t value, size_t prefix, uint8_t first) {  // RFC 7541 5.1
  const size_t limit = (size_t{1} << prefix) - 1;
  if (value < limit) return {static_cast<char>(first | value)};
  std::string out{static_cast<char>(first | limit)};
  for (value -= limit; value >= 128; value >>= 7) out += static_cast<char>(value % 128 + 128);
  return out + static_cast<char>(value);
}

std::string Block(const Fields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out += "\0"s;
    out += Integer(name.size(), 7, 0);
    out += name;
    out += Integer(value.size(), 7, 0);
    out += value;
  }
  return out;
}

std::string Headers(uint32_t stream, const std::string& block, uint8_t flags = 5) {
  return Http2Frame::Write(Http2Frame::kHeaders, flags, stream, block);
}

Fields Request(const std::string& authority, Fields more = {}) {
  Fields out{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", authority}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

const std::string kSettings = Http2Frame::Write(4, 0, 0, "");
const std::string kAck = Http2Frame::Write(4, 1, 0, "");
const std::string kStart = std::string(kHttp2Preface) + kSettings;

TEST(Http2InspectorTest, RequestsPassUnchanged) {
  const std::string block = Block(Request("a.example:8080", {{"x", "y"}}));
  for (const std::string& frames : {
           Headers(1, block),
           Headers(1, Block({{":path", "*"},
                             {":method", "OPTIONS"},
                             {":scheme", "https"},
                             {"host", "a.example:8080"},
                             {"te", "trailers"}})),
           Headers(1, Block(Request("a.example:8080", {{"host", "A.example:8080"}}))),
           Headers(7, "\3" + "\0\0\0\0\x0f"s + block + std::string(3, '\0'),
                   0x2d),  // padding and priority
           Headers(1, block.substr(0, 5), 1) + Http2Frame::Write(9, 0, 1, "") +
               Http2Frame::Write(9, 4, 1, block.substr(5)),
           Headers(1, block, 4) + Http2Frame::Write(0, 8, 1, "\2data\0\0"s) +
               Http2Frame::Write(0, 0, 1, "") + Http2Frame::Write(0, 8, 1, "\0"s) +
               Headers(1, Block({{"trailer", "x"}})) + Http2Frame::Write(3, 0, 1, "\0\0\0\x08"s),
           Http2Frame::Write(6, 0, 0, "12345678") + Http2Frame::Write(8, 0, 0, "\0\1\0\0"s) +
               Http2Frame::Write(2, 0, 9, "\0\0\0\0\x0f"s) + Http2Frame::Write(0x10, 0, 0, "u=1") +
               Headers(1, block) + Http2Frame::Write(7, 0, 0, "\0\0\0\0\0\0\0\0bye"s),
       }) {
    const Seen seen = FeedAll(kStart + frames);
    EXPECT_EQ(seen.outcome, Outcome::kGoOn) << seen.problem;
    EXPECT_EQ(seen.forward, kStart + frames);
    EXPECT_EQ(seen.asked, std::vector<std::string>{"a.example:8080"});
    std::string then_bad = kStart + frames;
    then_bad += Headers(11, Block(Request("bad")));
    then_bad += kSettings;
    const Seen refused = FeedAll(then_bad);
    EXPECT_EQ(refused.outcome, Outcome::kRefused);
    EXPECT_EQ(refused.stream, 11U);
    EXPECT_EQ(refused.forward, kStart + frames);
  }
}

TEST(Http2InspectorTest, DataIsNotHeld) {
  Http2Inspector inspector([](std::string_view, uint16_t) { return true; });
  inspector.FromClient(kStart + Headers(1, Block(Request("a")), 4));
  const std::string frame = "\xff\xff\xff\0\0\0\0\0\1"s;
  EXPECT_EQ(inspector.FromClient(frame).forward, frame);
  EXPECT_EQ(inspector.FromClient("x").forward, "x");
}

TEST(Http2InspectorTest, RefusedRequests) {
  struct Case {
    Fields fields;
    Outcome outcome;
  };
  auto without = [](std::string_view name) {
    Fields out = Request("a.example");
    std::erase_if(out, [name](const auto& field) { return field.first == name; });
    return out;
  };
  auto with = [](std::string_view name, const std::string& value) {
    Fields out = Request("a.example");
    for (auto& field : out) {
      if (field.first == name) field.second = value;
    }
    return out;
  };
  const Outcome bad = Outcome::kMalformed;
  const Case cases[] = {
      {Request("bad.example"), Outcome::kRefused},
      {without(":authority"), Outcome::kNoHost},
      {Request(""), Outcome::kNoHost},
      {without(":method"), bad},
      {without(":path"), bad},
      {without(":scheme"), bad},
      {with(":path", ""), bad},
      {with(":path", "http://b.example/"), bad},
      {with(":path", "/ HTTP/1.1"), bad},
      {with(":path", "*"), bad},
      {with(":path", "/\r\nHost: b"), bad},
      {with(":scheme", "ftp"), bad},
      {with(":method", "G T"), bad},
      {with(":method", "CONNECT"), Outcome::kUnsupported},
      {{{":method", "CONNECT"}, {":authority", "a:443"}}, Outcome::kUnsupported},
      {Request("a.example", {{":protocol", "websocket"}}), Outcome::kUnsupported},
      {Request("a@b"), bad},
      {Request("a,b"), bad},
      {Request("a b"), bad},
      {Request(" a"), bad},
      {Request("a:x"), bad},
      {Request("a.example", {{":authority", "a.example"}}), bad},
      {Request("a.example", {{":method", "GET"}}), bad},
      {Request("a.example", {{":path", "/"}}), bad},
      {Request("a.example", {{":scheme", "http"}}), bad},
      {Request("a.example", {{":status", "200"}}), bad},
      {Request("a.example", {{"host", "b.example"}}), bad},
      {Request("a.example", {{"host", "a.example:80"}}), bad},
      {Request("a.example", {{"host", "a.example"}, {"host", "a.example"}}), bad},
      {Request("a.example", {{"host", ""}}), Outcome::kNoHost},
      {Request("a.example", {{"Host", "a.example"}}), bad},
      {Request("a.example", {{"", "x"}}), bad},
      {Request("a.example", {{"a b", "x"}}), bad},
      {Request("a.example", {{"x", "a\0b"s}}), bad},
      {Request("a.example", {{"x", "a\nb"}}), bad},
      {Request("a.example", {{"x", "a "}}), bad},
      {Request("a.example", {{"connection", "close"}}), bad},
      {Request("a.example", {{"transfer-encoding", "chunked"}}), bad},
      {Request("a.example", {{"upgrade", "x"}}), bad},
      {Request("a.example", {{"te", "gzip"}}), bad},
      {Request("a.example", {{"content-length", "1"}, {"content-length", "1"}}), bad},
      {Request("a.example", {{"content-length", "x"}}), bad},
      {{{"x", "y"}, {":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}},
       bad},
  };
  for (const Case& test : cases) {
    const Seen seen = FeedAll(kStart + Headers(1, Block(test.fields)));
    EXPECT_EQ(seen.outcome, test.outcome) << testing::PrintToString(test.fields) << seen.problem;
    EXPECT_EQ(seen.forward, kStart);
    EXPECT_EQ(seen.stream, 1U);
    EXPECT_NE(seen.problem, "");
  }
}

TEST(Http2InspectorTest, MalformedFrames) {
  const std::string block = Block(Request("a"));
  const std::string open = Headers(1, block, 4);
  const std::string preface(kHttp2Preface);
  std::string continued = Headers(1, block, 1);
  for (int i = 0; i < 65; ++i) continued += Http2Frame::Write(9, 0, 1, "");
  std::string bomb = Block(Request("a")) + "\x40\1x" + Integer(4000, 7, 0) + std::string(4000, 'y');
  for (int i = 0; i < 20; ++i) bomb += "\xbe";  // the entry just made
  const std::string cases[] = {
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx",
      preface + kAck,
      preface + Headers(1, block),
      kStart + kAck,  // of nothing
      kStart + Headers(2, block),
      kStart + Headers(0, block),
      kStart + Headers(0x80000001, block),
      kStart + open + Headers(1, Block({{"x", "y"}}), 4),  // trailers that do not end
      kStart + open + Headers(1, Block({{":path", "/"}})),
      kStart + open + Headers(1, Block({{"host", "b"}})),
      kStart + Headers(3, block) + Headers(1, block),
      kStart + Headers(1, block, 1) + kSettings,
      kStart + Headers(1, block, 1) + Headers(3, block),
      kStart + Headers(1, block, 1) + Http2Frame::Write(9, 4, 3, ""),
      kStart + Headers(1, block, 1) + Http2Frame::Write(0x55, 0, 1, ""),
      kStart + Http2Frame::Write(9, 4, 1, block),
      kStart + Headers(1, "", 0xd),
      kStart + Headers(1, "\5abc", 0xd),
      kStart + Headers(1, "\0\0\0"s, 0x25),
      kStart + Headers(1, block + "\x40"),
      kStart + Headers(1, "\xff\xff\xff\xff\xff\xff"),
      kStart + Headers(1, "\x80"),
      kStart + Headers(1, "\xbe" + block),
      kStart + Headers(1, bomb),
      kStart + Headers(1, block, 1) + Http2Frame::Write(9, 0, 1, std::string(1 << 16, 'x')),
      kStart + continued,
      kStart + Http2Frame::Write(0, 0, 1, "x"),
      kStart + open + Http2Frame::Write(0, 0, 3, "x"),
      kStart + open + Http2Frame::Write(0, 0, 0, "x"),
      kStart + open + Http2Frame::Write(0, 8, 1, ""),
      kStart + open + Http2Frame::Write(0, 8, 1, "\2a"),
      kStart + Http2Frame::Write(3, 0, 1, "\0\0\0\0"s),
      kStart + open + Http2Frame::Write(3, 0, 1, "\0\0\0"s),
      kStart + Http2Frame::Write(4, 0, 0, "12345"),
      kStart + Http2Frame::Write(4, 0, 1, ""),
      kStart + Http2Frame::Write(4, 1, 0, "123456"),
      kStart + Http2Frame::Write(5, 4, 1, "\0\0\0\2"s),
      kStart + Http2Frame::Write(6, 0, 0, "1234567"),
      kStart + Http2Frame::Write(6, 0, 1, "12345678"),
      kStart + Http2Frame::Write(7, 0, 0, "1234567"),
      kStart + Http2Frame::Write(8, 0, 0, "123"),
      kStart + Http2Frame::Write(8, 0, 1, "1234"),
      kStart + Http2Frame::Write(2, 0, 1, "1234"),
  };
  for (const std::string& bytes : cases) {
    const Seen seen = FeedAll(bytes);
    EXPECT_EQ(seen.outcome, Outcome::kMalformed) << testing::PrintToString(bytes.substr(0, 200));
    EXPECT_EQ(seen.stream, 0U) << seen.problem;
    EXPECT_TRUE(bytes.starts_with(seen.forward));
    EXPECT_LT(seen.forward.size(), bytes.size());
    EXPECT_NE(seen.problem, "");
  }
}

TEST(Http2InspectorTest, TheTableIsAsLargeAsTheServerSays) {
  auto settings = [](uint32_t size) {
    std::string value;
    for (const int shift : {24, 16, 8, 0}) value += static_cast<char>(size >> shift & 0xff);
    return Http2Frame::Write(4, 0, 0, "\0\1"s + value);
  };
  auto update = [](size_t size) {
    return Headers(1, Integer(size, 5, 0x20) + Block(Request("a")));
  };
  struct Case {
    std::string server, client;
    Outcome outcome;
  };
  const Outcome good = Outcome::kGoOn;
  const Outcome bad = Outcome::kMalformed;
  const Case cases[] = {
      {"", update(4096), good},
      {"", update(4097), bad},
      {settings(8192), update(8192), bad},  // not acknowledged
      {settings(8192), kAck + update(8192), good},
      {settings(8192), kAck + update(8193), bad},
      {settings(100), kAck + Headers(1, Block(Request("a"))), bad},  // the change must be told
      {settings(100), kAck + update(100), good},
      {settings(65536), kAck + update(65536), good},
      {settings(1 << 20), kAck + update(65536), good},
      {settings(1 << 20), kAck + update(65537), bad},  // more than can be followed
      {kSettings + settings(8192), kAck + update(8192), bad},
      {kSettings + kAck + settings(8192), kAck + kAck + update(8192), good},
  };
  for (const Case& test : cases) {
    const Seen seen = FeedAll(kStart + test.client, test.server);
    EXPECT_EQ(seen.outcome, test.outcome) << testing::PrintToString(test.client) << seen.problem;
  }
  std::string flood;
  for (int i = 0; i < 65; ++i) flood += kSettings;
  EXPECT_EQ(FeedAll(kStart, flood).outcome, Outcome::kMalformed);
}

TEST(Http2InspectorTest, ServerBoundaries) {
  Http2Inspector inspector([](std::string_view, uint16_t) { return true; });
  const std::string frames = kSettings + Headers(1, "abc", 0) + Http2Frame::Write(9, 4, 1, "de") +
                             Http2Frame::Write(0, 0, 1, "data");
  const std::vector<size_t> boundaries{9, 9 + 12 + 11, 9 + 12 + 11 + 13};
  EXPECT_TRUE(inspector.at_server_boundary());
  for (size_t i = 0; i < frames.size(); ++i) {
    inspector.FromServer(std::string_view(frames).substr(i, 1));
    EXPECT_EQ(inspector.at_server_boundary(), std::ranges::count(boundaries, i + 1) == 1) << i;
  }
}

}  // namespace
}  // namespace cleanroom::doors::wire
