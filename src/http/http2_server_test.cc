// HTTP/2 as a hostile peer speaks it: raw frames against the server.
#include "http/http2_server.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "http/testing/peer.h"

namespace cleanroom::http {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum Type : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kRst,
  kSettings,
  kPush,
  kPing,
  kGoAway,
  kWindow,
  kContinuation
};
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kEndHeaders = 4;

std::string Number(uint32_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i) & 255));
  return out;
}

std::string Frame(Type type, uint8_t flags, uint32_t stream, std::string_view payload) {
  return Number(static_cast<uint32_t>(payload.size()), 3) + Number(type, 1) + Number(flags, 1) +
         Number(stream, 4) + std::string(payload);
}

// HPACK (RFC 7541) without the dynamic table or Huffman: POST http://x/call.
std::string Request() { return std::string("\x83\x86\x04\x05/call\x01\x01x", 12); }
std::string Literal(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + Number(static_cast<uint32_t>(name.size()), 1) + name +
         Number(static_cast<uint32_t>(value.size()), 1) + value;
}

struct SeenFrame {
  uint8_t type = 0;
  uint32_t stream = 0;
  std::string payload;
};

std::vector<SeenFrame> Parse(const std::string& bytes) {
  std::vector<SeenFrame> out;
  const auto at = [&bytes](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i]));
  };
  for (size_t i = 0; i + 9 <= bytes.size();) {
    const size_t size = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    out.push_back({.type = static_cast<uint8_t>(at(i + 3)),
                   .stream = at(i + 5) << 24 | at(i + 6) << 16 | at(i + 7) << 8 | at(i + 8),
                   .payload = bytes.substr(std::min(i + 9, bytes.size()), size)});
    i += 9 + size;
  }
  return out;
}

bool HasFrame(const std::string& bytes, Type type) {
  for (const auto& frame : Parse(bytes)) {
    if (frame.type == type) return true;
  }
  return false;
}

// The error code of the first GOAWAY; -1 without one.
int GoAwayCode(const std::string& bytes) {
  for (const auto& frame : Parse(bytes)) {
    if (frame.type == kGoAway && frame.payload.size() >= 8)
      return static_cast<uint8_t>(frame.payload[7]);
  }
  return -1;
}

struct Counters {
  int started = 0;
  int running = 0;
  int most = 0;
};

// Waits until it is cancelled.
Awaitable<void> HandleForever(Counters* counters, ServerExchange&) {
  ++counters->started;
  counters->most = std::max(counters->most, ++counters->running);
  (void)co_await SleepFor(std::chrono::hours(1));
  --counters->running;
}

class Http2ServerTest : public ::testing::Test {
 protected:
  TestPeer Peer(Http2Options options = {}, ServerTimeouts timeouts = {}) {
    return TestPeer([this, options, timeouts](std::unique_ptr<ByteStream> stream) {
      return ServeHttp2(std::move(stream), {}, options, timeouts, [this](ServerExchange& exchange) {
        return HandleForever(&counters_, exchange);
      });
    });
  }
  static std::string Hello() { return std::string(kPreface) + Frame(kSettings, 0, 0, ""); }

  Counters counters_;
};

TEST_F(Http2ServerTest, HandlersEndWhenThePeerVanishes) {
  TestPeer peer = Peer();
  peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders | kEndStream, 1, Request()),
                [](const std::string& got) { return HasFrame(got, kSettings); });
  peer.RunUntil([this] { return counters_.running == 1; });
  peer.Close();
  EXPECT_EQ(counters_.running, 0);
}

TEST_F(Http2ServerTest, ResetCancelsTheHandler) {
  TestPeer peer = Peer();
  peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders | kEndStream, 1, Request()),
                [](const std::string& got) { return HasFrame(got, kSettings); });
  peer.RunUntil([this] { return counters_.running == 1; });
  peer.Exchange(Frame(kRst, 0, 1, Number(8, 4)), [](const std::string&) { return true; });
  peer.RunUntil([this] { return counters_.running == 0; });
  EXPECT_FALSE(peer.server_ended());
}

TEST_F(Http2ServerTest, MoreStreamsThanAllowedAreRefused) {
  TestPeer peer = Peer({.max_streams = 2});
  std::string bytes = Hello();
  for (uint32_t id = 1; id <= 5; id += 2)
    bytes += Frame(kHeaders, kEndHeaders | kEndStream, id, Request());
  const auto got =
      peer.Exchange(bytes, [](const std::string& seen) { return HasFrame(seen, kRst); });
  EXPECT_TRUE(HasFrame(got, kRst));
  for (const auto& frame : Parse(got)) {
    if (frame.type != kRst) continue;
    EXPECT_EQ(frame.stream, 5U);
    EXPECT_EQ(frame.payload, Number(7, 4));  // REFUSED_STREAM
  }
  EXPECT_LE(counters_.started, 2);
}

TEST_F(Http2ServerTest, RapidResetEndsTheConnection) {
  TestPeer peer = Peer({.max_streams = 8});
  std::string bytes = Hello();
  for (uint32_t id = 1; id < 8000; id += 2) {
    bytes += Frame(kHeaders, kEndHeaders | kEndStream, id, Request());
    bytes += Frame(kRst, 0, id, Number(8, 4));
  }
  const auto got = peer.ExchangeToEnd(bytes);
  EXPECT_GT(GoAwayCode(got), 0);
  EXPECT_LE(counters_.most, 16);
}

TEST_F(Http2ServerTest, PingFloodIsToldToCalmDown) {
  TestPeer peer = Peer();
  std::string bytes = Hello();
  for (int i = 0; i < 5000; ++i)
    bytes += Frame(kPing, 1, 0, "01234567");             // acknowledgements cost no answer
  EXPECT_EQ(GoAwayCode(peer.ExchangeToEnd(bytes)), 11);  // ENHANCE_YOUR_CALM
}

TEST_F(Http2ServerTest, SettingsFloodIsToldToCalmDown) {
  TestPeer peer = Peer();
  std::string bytes = Hello();
  for (int i = 0; i < 5000; ++i) bytes += Frame(kSettings, 0, 0, "");
  peer.ExchangeToEnd(bytes);
  peer.RunUntil([&] { return peer.server_ended(); });
}

TEST_F(Http2ServerTest, ContinuationFloodEndsTheConnection) {
  TestPeer peer = Peer();
  std::string bytes = Hello() + Frame(kHeaders, kEndStream, 1, Request());
  for (int i = 0; i < 5000; ++i) bytes += Frame(kContinuation, 0, 1, "");
  peer.ExchangeToEnd(bytes);
  peer.RunUntil([&] { return peer.server_ended(); });
  EXPECT_EQ(counters_.started, 0);
}

TEST_F(Http2ServerTest, HugeHeadIsAnswered431) {
  TestPeer peer = Peer({.max_header_bytes = 1000});
  std::string head = Request();
  for (int i = 0; i < 20; ++i) head += Literal("x", std::string(100, 'y'));
  const auto got = peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders | kEndStream, 1, head),
                                 [](const std::string& seen) { return HasFrame(seen, kHeaders); });
  EXPECT_NE(got.find("431"), std::string::npos);
  EXPECT_EQ(counters_.started, 0);
}

TEST_F(Http2ServerTest, SlowHeadEndsTheConnection) {
  TestPeer peer = Peer({}, {.head = std::chrono::seconds(1)});
  peer.ExchangeToEnd(Hello() + Frame(kHeaders, kEndStream, 1, Request()));
  peer.RunUntil([&] { return peer.server_ended(); });
  EXPECT_EQ(counters_.started, 0);
}

TEST_F(Http2ServerTest, UnreadBodyIsBoundedByTheWindow) {
  TestPeer peer = Peer({.stream_window = 65535});
  std::string bytes = Hello() + Frame(kHeaders, kEndHeaders, 1, Request());
  for (int i = 0; i < 10; ++i) bytes += Frame(kData, 0, 1, std::string(16384, 'x'));
  const auto got = peer.Exchange(bytes, [](const std::string& seen) {
    return HasFrame(seen, kRst) || HasFrame(seen, kGoAway);
  });
  EXPECT_TRUE(HasFrame(got, kRst) || GoAwayCode(got) == 3);  // FLOW_CONTROL_ERROR
}

// Answers at once, without reading the body.
Awaitable<void> HandleShortly(int status, ServerExchange& exchange) {
  exchange.SendHead(status, {}, Ending::kEnd);
  co_return;
}

TestPeer ShortPeer(int status, ServerTimeouts timeouts = {}) {
  return TestPeer([status, timeouts](std::unique_ptr<ByteStream> stream) {
    return ServeHttp2(
        std::move(stream), {}, {.stream_window = 65535}, timeouts,
        [status](ServerExchange& exchange) { return HandleShortly(status, exchange); });
  });
}

TEST_F(Http2ServerTest, ARefusalCanBeReadBeforeTheStreamIsReset) {
  TestPeer peer = ShortPeer(429);
  const auto begin = std::chrono::steady_clock::now();
  std::string got = peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders, 1, Request()),
                                  [](const std::string& seen) { return HasFrame(seen, kHeaders); });
  EXPECT_FALSE(HasFrame(got, kRst));
  // What was on its way is taken, and no more is asked for.
  std::string data;
  for (int i = 0; i < 3; ++i) data += Frame(kData, 0, 1, std::string(16384, 'x'));
  got = peer.Exchange(data, [](const std::string& seen) { return HasFrame(seen, kRst); });
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  ASSERT_TRUE(HasFrame(got, kRst));
  for (const auto& frame : Parse(got)) {
    EXPECT_FALSE(frame.type == kWindow && frame.stream == 1);
    if (frame.type == kRst) {
      EXPECT_EQ(frame.payload, Number(0, 4));  // NO_ERROR
    }
  }
}

TEST_F(Http2ServerTest, WhoStopsAfterARefusalIsNotReset) {
  TestPeer peer = ShortPeer(429);
  peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders, 1, Request()),
                [](const std::string& seen) { return HasFrame(seen, kHeaders); });
  const auto got = peer.Exchange(
      Frame(kData, kEndStream, 1, "x") + Frame(kHeaders, kEndHeaders | kEndStream, 3, Request()),
      [](const std::string& seen) { return HasFrame(seen, kHeaders); });
  EXPECT_FALSE(HasFrame(got, kRst));
}

TEST_F(Http2ServerTest, AnAnswerThatIsNoRefusalResetsAtOnce) {
  TestPeer peer = ShortPeer(200);
  const auto begin = std::chrono::steady_clock::now();
  const auto got = peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders, 1, Request()),
                                 [](const std::string& seen) { return HasFrame(seen, kRst); });
  EXPECT_TRUE(HasFrame(got, kRst));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

constexpr ServerTimeouts kShortIdle = {.idle = std::chrono::seconds(1)};

TEST_F(Http2ServerTest, AConnectionWithoutARequestIsIdleWhateverItSaysOtherwise) {
  TestPeer peer = Peer({}, kShortIdle);
  std::string got = peer.Exchange(Hello(), [](const std::string& seen) { return !seen.empty(); });
  const auto begin = std::chrono::steady_clock::now();
  while (!HasFrame(got, kGoAway)) {
    got = peer.Exchange(
        Frame(kPing, 0, 0, "01234567") + Frame(kSettings, 0, 0, ""),
        [](const std::string& seen) { return HasFrame(seen, kPing) || HasFrame(seen, kGoAway); });
    ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
    ASSERT_FALSE(got.empty()) << "it ended without a goodbye";
    peer.RunFor(std::chrono::milliseconds(20));  // not the flood that is refused as such
  }
  EXPECT_EQ(GoAwayCode(got), 0);  // NO_ERROR
  peer.RunUntil([&] { return peer.server_ended(); });
}

TEST_F(Http2ServerTest, AConnectionIsIdleAfterItsRequests) {
  TestPeer peer = ShortPeer(200, kShortIdle);
  const auto got =
      peer.ExchangeToEnd(Hello() + Frame(kHeaders, kEndHeaders | kEndStream, 1, Request()));
  EXPECT_TRUE(HasFrame(got, kHeaders));
  EXPECT_EQ(GoAwayCode(got), 0);
}

TEST_F(Http2ServerTest, ARequestUnderWayIsNotIdle) {
  TestPeer peer = Peer({}, kShortIdle);
  peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders | kEndStream, 1, Request()),
                [](const std::string& got) { return HasFrame(got, kSettings); });
  peer.RunFor(kShortIdle.idle * 3);
  EXPECT_FALSE(peer.server_ended());
  EXPECT_EQ(counters_.running, 1);
}

// Ends with more than the peer's window takes.
Awaitable<void> HandleWithBody(bool known_length, ServerExchange& exchange) {
  Headers headers;
  if (known_length) headers.emplace_back("content-length", "100000");
  exchange.SendHead(200, headers, Ending::kMore);
  (void)co_await exchange.SendBody(std::string(100000, 'x'));
  exchange.Finish({});
}

TEST_F(Http2ServerTest, AnAnswerThatNobodyTakesIsIdleButAStreamIsNot) {
  for (const bool known_length : {true, false}) {
    TestPeer peer([known_length](std::unique_ptr<ByteStream> stream) {
      return ServeHttp2(std::move(stream), {}, {}, kShortIdle,
                        [known_length](ServerExchange& exchange) {
                          return HandleWithBody(known_length, exchange);
                        });
    });
    peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders | kEndStream, 1, Request()),
                  [](const std::string& got) { return HasFrame(got, kData); });
    peer.RunFor(kShortIdle.idle * 7 / 2);
    EXPECT_EQ(peer.server_ended(), known_length);
  }
}

// Reads `wanted` bytes at a time and notes how many came.
Awaitable<void> HandlePortions(std::vector<size_t>* portions, size_t wanted,
                               ServerExchange& exchange) {
  bool more = true;
  while (more) {
    std::string body;
    auto read = co_await exchange.ReadBody(body, wanted);
    more = read && *read;
    if (more) portions->push_back(body.size());
  }
  exchange.SendHead(200, {}, Ending::kEnd);
}

TEST_F(Http2ServerTest, AReaderIsWokenByAsMuchAsItWants) {
  std::vector<size_t> portions;
  TestPeer peer([&portions](std::unique_ptr<ByteStream> stream) {
    return ServeHttp2(
        std::move(stream), {}, {.stream_window = 65535}, {}, [&](ServerExchange& exchange) {
          return HandlePortions(&portions, exchange.request().path == "/call" ? 250 : 0, exchange);
        });
  });
  peer.Exchange(Hello() + Frame(kHeaders, kEndHeaders, 1, Request()),
                [](const std::string& got) { return HasFrame(got, kSettings); });
  // The answer to a PING shows that the data before it has been taken.
  const auto send = [&peer](size_t bytes, uint8_t flags) {
    peer.Exchange(Frame(kData, flags, 1, std::string(bytes, 'x')) + Frame(kPing, 0, 0, "01234567"),
                  [](const std::string& got) { return HasFrame(got, kPing); });
  };
  send(100, 0);
  send(100, 0);
  EXPECT_TRUE(portions.empty());
  send(100, 0);
  peer.RunUntil([&] { return portions.size() == 1; });
  send(10, kEndStream);
  peer.RunUntil([&] { return portions.size() == 2; });
  EXPECT_EQ(portions, (std::vector<size_t>{300, 10}));
}

TEST_F(Http2ServerTest, WantingMoreThanTheWindowIsNoDeadlock) {
  std::vector<size_t> portions;
  TestPeer peer([&portions](std::unique_ptr<ByteStream> stream) {
    return ServeHttp2(std::move(stream), {}, {.stream_window = 65535}, {},
                      [&](ServerExchange& exchange) {
                        return HandlePortions(&portions, size_t{1} << 30, exchange);
                      });
  });
  std::string bytes = Hello() + Frame(kHeaders, kEndHeaders, 1, Request());
  for (int i = 0; i < 3; ++i) bytes += Frame(kData, 0, 1, std::string(16384, 'x'));
  peer.Exchange(bytes, [](const std::string& got) { return HasFrame(got, kWindow); });
  peer.RunUntil([&] { return !portions.empty(); });
  EXPECT_GE(portions[0], 32767U);
}

TEST_F(Http2ServerTest, GarbageEndsTheConnection) {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(kPreface) + std::string(64, '\xff'),
        Hello() + Frame(kHeaders, kEndHeaders, 2, Request()),
        Hello() + Frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff\xff")}) {
    TestPeer peer = Peer();
    peer.ExchangeToEnd(bytes);
    peer.RunUntil([&] { return peer.server_ended(); });
    EXPECT_EQ(counters_.started, 0);
  }
}

}  // namespace
}  // namespace cleanroom::http
