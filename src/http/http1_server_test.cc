#include "http/http1_server.h"

#include <gtest/gtest.h>

#include <string>

#include "http/http1_parser.h"
#include "http/testing/peer.h"

namespace cleanroom::http {
namespace {

// /echo answers the body in chunks as it comes, /length at once, /hang never, /ignore without
// reading.
Awaitable<void> Handle(int* cancelled, ServerExchange& exchange) {
  const std::string path = exchange.request().path;
  if (path == "/hang") {
    auto slept = co_await SleepFor(std::chrono::hours(1));
    if (!slept) ++*cancelled;
    co_return;
  }
  Headers headers;
  if (path == "/ignore") {
    exchange.SendHead(404, headers, Ending::kEnd);
    co_return;
  }
  std::string body;
  bool more = true;
  if (path == "/echo") exchange.SendHead(200, headers, Ending::kMore);
  while (more) {
    auto read = co_await exchange.ReadBody(body);
    if (!read) co_return;
    more = *read;
    if (path == "/echo" && !body.empty()) {
      auto sent = co_await exchange.SendBody(std::move(body));
      if (!sent) co_return;
      body.clear();
    }
  }
  if (path == "/length") {
    headers.emplace_back("content-length", std::to_string(body.size()));
    exchange.SendHead(200, headers, Ending::kMore);
    (void)co_await exchange.SendBody(body);
  }
  exchange.Finish({});
}

class Http1ServerTest : public ::testing::Test {
 protected:
  TestPeer Peer(Http1Options options = {}, ServerTimeouts timeouts = {}) {
    return TestPeer([this, options, timeouts](std::unique_ptr<ByteStream> stream) {
      return ServeHttp1(std::move(stream), {}, options, timeouts,
                        [this](ServerExchange& exchange) { return Handle(&cancelled_, exchange); });
    });
  }
  static TestPeer::Enough Until(std::string text) {
    return [text = std::move(text)](const std::string& seen) {
      return seen.find(text) != std::string::npos;
    };
  }
  int cancelled_ = 0;
};

TEST_F(Http1ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  TestPeer peer = Peer();
  const auto got = peer.Exchange(
      "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\none"
      "POST /length?q HTTP/1.1\r\nhost: x\r\ntransfer-encoding: "
      "chunked\r\n\r\n1\r\nt\r\n2\r\nwo\r\n0\r\n\r\n",
      Until("two"));
  EXPECT_EQ(got,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo");
}

TEST_F(Http1ServerTest, UnknownLengthIsChunked) {
  TestPeer peer = Peer();
  const auto got = peer.Exchange("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
                                 Until("\r\n0\r\n\r\n"));
  EXPECT_EQ(got, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
}

TEST_F(Http1ServerTest, OldClientsGetTheConnectionClosed) {
  TestPeer peer = Peer();
  EXPECT_EQ(peer.ExchangeToEnd("POST /echo HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc"),
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
}

TEST_F(Http1ServerTest, ContinueIsSentWhenTheBodyIsWanted) {
  TestPeer peer = Peer();
  const std::string head =
      "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
  EXPECT_EQ(peer.Exchange(head, Until("\r\n\r\n")), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(peer.Exchange("ok", Until("\r\n\r\nok")),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

TEST_F(Http1ServerTest, UnreadBodyDoesNotLoseTheResponse) {
  TestPeer peer = Peer();
  const std::string body(3 << 20, 'x');
  const auto got = peer.ExchangeToEnd("POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: " +
                                      std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_TRUE(got.starts_with("HTTP/1.1 404 Not Found\r\n")) << got;
  EXPECT_NE(got.find("connection: close\r\n"), std::string::npos);
}

TEST_F(Http1ServerTest, PeerThatLeavesCancelsItsRequest) {
  TestPeer peer = Peer();
  peer.Exchange("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n", [](const std::string&) { return true; });
  peer.Close();
  EXPECT_LE(cancelled_, 1);  // 0 when the request had not been read yet
}

TEST_F(Http1ServerTest, SlowHeadIsCutOff) {
  TestPeer peer = Peer({}, {.head = std::chrono::seconds(1)});
  EXPECT_TRUE(peer.ExchangeToEnd("POST /echo HTTP/1.1\r\nho").starts_with("HTTP/1.1 408"));
}

constexpr ServerTimeouts kShortIdle = {.idle = std::chrono::seconds(1)};

TEST_F(Http1ServerTest, WhoSaysNothingIsCutOff) {
  TestPeer peer = Peer({}, kShortIdle);
  EXPECT_EQ(peer.ExchangeToEnd(""), "");
  peer.RunUntil([&] { return peer.server_ended(); });
}

TEST_F(Http1ServerTest, WhoSaysNothingMoreIsCutOff) {
  TestPeer peer = Peer({}, kShortIdle);
  EXPECT_EQ(peer.ExchangeToEnd("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok"),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  peer.RunUntil([&] { return peer.server_ended(); });
}

TEST_F(Http1ServerTest, ARequestUnderWayIsNotIdle) {
  TestPeer peer = Peer({}, kShortIdle);
  peer.Exchange("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n", [](const std::string&) { return true; });
  peer.RunFor(kShortIdle.idle * 3);
  EXPECT_FALSE(peer.server_ended());
}

// More than the sockets hold.
Awaitable<void> AnswerMuch(bool known_length, ServerExchange& exchange) {
  constexpr size_t kMuch = 4U << 20;
  Headers headers;
  if (known_length) headers.emplace_back("content-length", std::to_string(kMuch));
  exchange.SendHead(200, headers, Ending::kMore);
  (void)co_await exchange.SendBody(std::string(kMuch, 'x'));
  exchange.Finish({});
}

TEST_F(Http1ServerTest, AnAnswerThatNobodyTakesIsIdleButAStreamIsNot) {
  for (const bool known_length : {true, false}) {
    TestPeer peer([known_length](std::unique_ptr<ByteStream> stream) {
      return ServeHttp1(
          std::move(stream), {}, {}, kShortIdle,
          [known_length](ServerExchange& exchange) { return AnswerMuch(known_length, exchange); });
    });
    peer.Exchange("GET /much HTTP/1.1\r\nhost: x\r\n\r\n", [](const std::string&) { return true; });
    peer.RunFor(kShortIdle.idle * 3);
    EXPECT_EQ(peer.server_ended(), known_length);
  }
}

TEST_F(Http1ServerTest, MalformedAndOversizedRequests) {
  const std::pair<std::string, std::string> cases[] = {
      {"nonsense\r\n\r\n", "HTTP/1.1 400"},
      {"GET / HTTP/9.9\r\n\r\n", "HTTP/1.1 400"},
      {"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "HTTP/1.1 400"},
      {"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
       "HTTP/1.1 400"},
      {"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n", "HTTP/1.1 400"},
      {"GET / HTTP/1.1\r\nx: " + std::string(70'000, 'y') + "\r\n\r\n", "HTTP/1.1 431"},
      {"GET /" + std::string(70'000, 'y'), "HTTP/1.1 431"},
  };
  for (const auto& [request, status] : cases) {
    TestPeer peer = Peer();
    const auto got = peer.ExchangeToEnd(request);
    EXPECT_TRUE(got.starts_with(status)) << request.substr(0, 60) << " -> " << got;
  }
  TestPeer peer = Peer();  // inside a body the connection just ends
  EXPECT_EQ(peer.ExchangeToEnd("POST /length HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            "");
  TestPeer endless = Peer();
  EXPECT_EQ(endless.ExchangeToEnd("POST /length HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" +
                                  std::string(200'000, 'x')),
            "");
}

TEST(Http1ParserTest, TakesAnyCutOfTheBytes) {
  const std::string request =
      "POST http://h/a/b?c HTTP/1.1\r\nHost: x\r\nX-Y:  z \r\ntransfer-encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\ntrailer: 1\r\n\r\n";
  for (size_t step = 1; step < request.size(); ++step) {
    Http1Parser parser(1000);
    std::string body;
    std::string input;
    size_t given = 0;
    while (!parser.done()) {
      auto taken = parser.Put(input, body, 100);
      ASSERT_TRUE(taken.has_value()) << taken.error().ToString();
      input.erase(0, *taken);
      if (*taken > 0) continue;
      ASSERT_LT(given, request.size());
      input += request.substr(given, step);
      given += step;
    }
    EXPECT_EQ(body, "abcdefgh");
    EXPECT_EQ(parser.Head().path, "/a/b");
    EXPECT_EQ(FindHeader(parser.Head().headers, "x-y"), "z");
  }
}

}  // namespace
}  // namespace cleanroom::http
