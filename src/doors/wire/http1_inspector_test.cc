#include "doors/wire/http1_inspector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace cleanroom::doors::wire {
namespace {

using namespace std::string_literals;  // NOLINT: requests that hold NULs
using Outcome = Http1Inspector::Outcome;

struct Seen {
  Outcome outcome = Outcome::kGoOn;
  std::string forward;
  std::string host, problem;
  uint64_t requests = 0;
  std::vector<std::string> asked;
  bool operator==(const Seen&) const = default;
};

// What becomes of `bytes` in pieces of `step`, the first of `first` bytes. "bad" is refused.
Seen Feed(const std::string& bytes, size_t first, size_t step) {
  Seen seen;
  Http1Inspector inspector([&seen](std::string_view host, uint16_t port) {
    seen.asked.push_back(std::string(host) + ":" + std::to_string(port));
    return !host.starts_with("bad");
  });
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = std::min(at == 0 ? first : step, bytes.size() - at);
    auto result = inspector.FromClient(std::string_view(bytes).substr(at, count));
    seen.outcome = result.outcome;
    seen.forward += result.forward;
    at += count;
  }
  seen.host = inspector.host();
  seen.problem = inspector.problem();
  seen.requests = inspector.requests();
  return seen;
}

// The same for every way to cut it.
Seen FeedAll(const std::string& bytes) {
  const Seen whole = Feed(bytes, bytes.size(), 1);
  if (bytes.size() > 4000) return whole;
  for (size_t first = 1; first <= bytes.size(); ++first) {
    EXPECT_EQ(Feed(bytes, first, bytes.size()), whole) << testing::PrintToString(bytes) << first;
  }
  for (size_t step = 1; step < 8; ++step) {
    EXPECT_EQ(Feed(bytes, step, step), whole) << testing::PrintToString(bytes) << step;
  }
  return whole;
}

const std::string kGet = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

TEST(Http1InspectorTest, RequestsPassUnchanged) {
  for (const std::string& request : {
           kGet,
           "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n"s,
           "\r\n\r\nGET /?q=%20 HTTP/1.1\r\nhost:\ta.example \r\nX: \x80\r\nY:\r\n\r\n"s,
           "GET http://A.example/x HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n"s,
           "OPTIONS * HTTP/1.1\r\nHost: a.example:8080\r\n\r\n"s,
           "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nGET /"s,
           "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"s,
           "PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: Chunked\r\nExpect: "
           "100-continue\r\n\r\n5\r\nab\r\nc\r\n1A ;x=\"y z\";b\r\n"s +
               std::string(26, '\n') + "\r\n000\r\nChecksum: x\r\nB: y\r\n\r\n",
           "PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"s,
       }) {
    const Seen once = FeedAll(request);
    EXPECT_EQ(once.outcome, Outcome::kGoOn) << request << once.problem;
    EXPECT_EQ(once.forward, request);
    const Seen twice = FeedAll(request + request);
    EXPECT_EQ(twice.forward, request + request);
    EXPECT_EQ(twice.requests, 2U);
    // A request after it is seen, whatever the framing of the first.
    std::string more = request;
    more += "GET / HTTP/1.1\r\nHost: bad.example:81\r\n\r\n";
    more += kGet;
    const Seen third = FeedAll(more);
    EXPECT_EQ(third.outcome, Outcome::kRefused) << request;
    EXPECT_EQ(third.forward, request);
    EXPECT_EQ(third.host, "bad.example");
    ASSERT_EQ(third.asked.size(), 2U);
    EXPECT_EQ(third.asked[1], "bad.example:81");
  }
}

TEST(Http1InspectorTest, HostForms) {
  for (const auto& [host, asked] :
       std::vector<std::pair<std::string, std::string>>{{"a_b-c.example", "a_b-c.example:0"},
                                                        {"a.example.", "a.example.:0"},
                                                        {"a.example:65535", "a.example:65535"},
                                                        {"1.2.3.4:80", "1.2.3.4:80"},
                                                        {"[::1]", "::1:0"},
                                                        {"[2001:db8::1]:443", "2001:db8::1:443"}}) {
    const Seen seen = FeedAll("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    EXPECT_EQ(seen.outcome, Outcome::kGoOn) << host << seen.problem;
    EXPECT_EQ(seen.asked, std::vector<std::string>{asked});
  }
  for (const std::string& host : {"a@b"s,
                                  "a,b"s,
                                  "a b"s,
                                  "a:"s,
                                  "a:0"s,
                                  "a:65536"s,
                                  "a:1:2"s,
                                  "a:x"s,
                                  ":80"s,
                                  "[::1"s,
                                  "[::1]x"s,
                                  "[::1]80"s,
                                  "[1.2.3.4]"s,
                                  "[a]"s,
                                  "::1"s,
                                  "a/b"s,
                                  "a%2eb"s,
                                  "http://a"s,
                                  "a\\b"s,
                                  "a#b"s,
                                  "a?b"s,
                                  "\xc3\xa9"s,
                                  std::string(256, 'a')}) {
    const Seen seen = FeedAll("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    EXPECT_EQ(seen.outcome, Outcome::kMalformed) << host;
    EXPECT_EQ(seen.forward, "");
    EXPECT_TRUE(seen.asked.empty());
  }
}

TEST(Http1InspectorTest, WithoutAHost) {
  for (const std::string& request :
       {"GET / HTTP/1.1\r\n\r\n"s, "GET / HTTP/1.0\r\nX: y\r\n\r\n"s,
        "GET / HTTP/1.1\r\nHost:\r\n\r\n"s, "GET / HTTP/1.1\r\nHost:  \t\r\n\r\n"s,
        "GET http://a.example/ HTTP/1.1\r\n\r\n"s}) {
    const Seen seen = FeedAll(request);
    EXPECT_EQ(seen.outcome, Outcome::kNoHost) << request;
    EXPECT_EQ(seen.forward, "");
  }
}

TEST(Http1InspectorTest, Malformed) {
  const std::string host = "Host: a.example\r\n";
  const std::string line = "POST / HTTP/1.1\r\n" + host;
  const std::string chunked = line + "Transfer-Encoding: chunked\r\n\r\n";
  std::string many = line;
  for (int i = 0; i < 257; ++i) many += "X: y\r\n";
  for (const std::string& request : {
           line + host + "\r\n",
           line + "Host : a.example\r\n\r\n",
           line + " Host: b.example\r\n\r\n",
           line + "X: y\r\n z\r\n\r\n",
           line + ": y\r\n\r\n",
           line + "X\r\n\r\n",
           line + "X: a\0b\r\n\r\n"s,
           line + "X: a\x7f\r\n\r\n",
           line + "X: a\rb\r\n\r\n",
           line + "X: a\nb\r\n\r\n",
           line + "\n",
           line + "\r\r\n",
           "\n" + line + "\r\n",
           "POST / HTTP/1.1\n" + host + "\r\n",
           "POST  / HTTP/1.1\r\n" + host + "\r\n",
           "POST / HTTP/1.1 \r\n" + host + "\r\n",
           " POST / HTTP/1.1\r\n" + host + "\r\n",
           "POST /\tx HTTP/1.1\r\n" + host + "\r\n",
           "POST /# HTTP/1.1\r\n" + host + "\r\n",
           "POST /\xff HTTP/1.1\r\n" + host + "\r\n",
           "POST HTTP/1.1\r\n" + host + "\r\n",
           "POST /\r\n" + host + "\r\n",
           "P(ST / HTTP/1.1\r\n" + host + "\r\n",
           "POST / http/1.1\r\n" + host + "\r\n",
           "POST / HTTP/1.10\r\n" + host + "\r\n",
           "POST / HTTP/1\r\n" + host + "\r\n",
           "POST * HTTP/1.1\r\n" + host + "\r\n",
           "POST x HTTP/1.1\r\n" + host + "\r\n",
           "POST ftp://a.example/ HTTP/1.1\r\n" + host + "\r\n",
           "POST http://b.example/ HTTP/1.1\r\n" + host + "\r\n",
           "POST http://a.example:81/ HTTP/1.1\r\n" + host + "\r\n",
           "POST http://a.example@b.example/ HTTP/1.1\r\n" + host + "\r\n",
           "POST http:///a HTTP/1.1\r\n" + host + "\r\n",
           line + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
           line + "Content-Length: 1, 1\r\n\r\n",
           line + "Content-Length: +1\r\n\r\n",
           line + "Content-Length: 0x1\r\n\r\n",
           line + "Content-Length:\r\n\r\n",
           line + "Content-Length: 999999999999999999999\r\n\r\n",
           line + "Content_Length: 1\r\n\r\n",
           line + "Transfer_Encoding: chunked\r\n\r\n",
           line + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
           line + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
           line + "Transfer-Encoding: gzip, chunked\r\n\r\n",
           line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
           line + "Transfer-Encoding: identity\r\n\r\n",
           line + "Transfer-Encoding: \x0b"
                  "chunked\r\n\r\n",
           "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n",
           chunked + "\r\n",
           chunked + "x\r\n",
           chunked + ";a\r\n",
           chunked + "5\nabcde\r\n",
           chunked + "5 \r\nabcde\r\n",
           chunked + "5 x\r\nabcde\r\n",
           chunked + "5;a\nb\r\nabcde\r\n",
           chunked + "5;\x01\r\nabcde\r\n",
           chunked + "5\r\nabcdef\r\n",
           chunked + "5\r\nabcde\n",
           chunked + "5\r\nabcde\rx",
           chunked + "5\rx",
           chunked + "-5\r\n",
           chunked + "0x5\r\n",
           chunked + "1000000000000000\r\n",
           chunked + "5;" + std::string(Http1Inspector::kMaxChunkLine, 'a'),
           chunked + "0\r\nHost: b.example\r\n\r\n",
           chunked + "0\r\nContent-Length: 5\r\n\r\n",
           chunked + "0\r\nX : y\r\n\r\n",
           chunked + "0\r\n\n",
           chunked + "0\r\nX: " + std::string(Http1Inspector::kMaxTrailers, 'a'),
           many + "\r\n",
           line + "X: " + std::string(Http1Inspector::kMaxHead, 'a'),
           "\0"s + line + "\r\n",
       }) {
    const Seen seen = FeedAll(request);
    EXPECT_EQ(seen.outcome, Outcome::kMalformed) << testing::PrintToString(request.substr(0, 300));
    EXPECT_TRUE(request.starts_with(seen.forward));
    EXPECT_NE(seen.problem, "");
    if (!request.starts_with(chunked)) {
      EXPECT_EQ(seen.forward, "");
    }
  }
}

TEST(Http1InspectorTest, TheLimitsThemselvesPass) {
  std::string head = "GET / HTTP/1.1\r\nHost: a.example\r\nX: ";
  head += std::string(Http1Inspector::kMaxHead - head.size() - 4, 'a') + "\r\n\r\n";
  EXPECT_EQ(head.size(), Http1Inspector::kMaxHead);
  EXPECT_EQ(FeedAll(head).forward, head);
  std::string many = "GET / HTTP/1.1\r\nHost: a.example\r\n";
  for (int i = 0; i < 255; ++i) many += "X: y\r\n";
  EXPECT_EQ(FeedAll(many + "\r\n").outcome, Outcome::kGoOn);
}

TEST(Http1InspectorTest, Unsupported) {
  const std::string host = "Host: a.example\r\n";
  const std::string late_upgrade =
      kGet + "GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\n\r\n";
  for (const std::string& request : {
           "CONNECT a.example:443 HTTP/1.1\r\n" + host + "\r\n",
           "GET / HTTP/1.2\r\n" + host + "\r\n",
           "GET / HTTP/0.9\r\n" + host + "\r\n",
           "GET / HTTP/3.0\r\n" + host + "\r\n",
           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"s,
           "GET / HTTP/1.1\r\n" + host + "Upgrade: h2\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "Upgrade: HTTP/2.0\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "Upgrade: TLS/1.0\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "Upgrade: h2c, TLS/1.0\r\n\r\n",
           late_upgrade,
       }) {
    EXPECT_EQ(FeedAll(request).outcome, Outcome::kUnsupported) << request;
  }
}

const std::string kUpgrade =
    "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

// The client's bytes in two parts, and in between the server's in pieces of `step`.
Seen Converse(const std::string& before, const std::string& answer, size_t step,
              const std::string& after = "") {
  Seen seen;
  Http1Inspector inspector([](std::string_view host, uint16_t) { return host != "bad"; });
  auto take = [&seen](Http1Inspector::Step result) {
    seen.outcome = result.outcome;
    seen.forward += result.forward;
  };
  take(inspector.FromClient(before));
  for (size_t at = 0; at < answer.size() && inspector.wants_response(); at += step) {
    take(inspector.FromServer(std::string_view(answer).substr(at, step)));
  }
  EXPECT_FALSE(inspector.wants_response()) << answer;
  if (!after.empty()) take(inspector.FromClient(after));
  return seen;
}

TEST(Http1InspectorTest, Upgrades) {
  const std::string switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
  const std::string declined = "HTTP/1.1 200 OK\r\n";
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: HTTP/1.1 101 x\r\n\r\n";
  const std::string bad = "GET / HTTP/1.1\r\nHost: bad\r\n\r\n";
  for (size_t step = 1; step < 100; ++step) {
    Seen seen = Converse(kUpgrade + "frames", interim + switched, step, "more");
    EXPECT_EQ(seen.outcome, Outcome::kTunnel);
    EXPECT_EQ(seen.forward, kUpgrade + "framesmore");

    seen = Converse(kUpgrade + kGet, interim + declined, step, bad);
    EXPECT_EQ(seen.outcome, Outcome::kRefused);
    EXPECT_EQ(seen.forward, kUpgrade + kGet);

    seen = Converse(kUpgrade + bad, declined, step, kGet);
    EXPECT_EQ(seen.outcome, Outcome::kRefused);
    EXPECT_EQ(seen.forward, kUpgrade);

    EXPECT_EQ(Converse(kUpgrade, "SSH-2.0\r\n", step).outcome, Outcome::kMalformed);
  }
  EXPECT_EQ(Converse(kUpgrade, "HTTP/1.1 100 x\r\nA: " + std::string(1 << 17, 'a'), 999).outcome,
            Outcome::kMalformed);
  EXPECT_EQ(FeedAll(kUpgrade + "frames").forward, kUpgrade);
  EXPECT_EQ(FeedAll(kUpgrade + std::string(Http1Inspector::kMaxHeld, 'x')).outcome, Outcome::kGoOn);
  EXPECT_EQ(FeedAll(kUpgrade + std::string(Http1Inspector::kMaxHeld + 1, 'x')).outcome,
            Outcome::kMalformed);
}

// What clients send that would go on in HTTP/2, and what of it passes.
TEST(Http1InspectorTest, OffersOfHttp2AreTakenOut) {
  const std::string get = "GET / HTTP/1.1\r\nHost: a.example\r\n";
  const std::vector<std::pair<std::string, std::string>> offers = {
      // Java's HttpClient, curl --http2.
      {"Connection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\n"
       "HTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17\r\n",
       "Content-Length: 0\r\nUser-Agent: Java-http-client/17\r\n"},
      {"Connection: keep-alive , upgrade,http2-settings\r\nUPGRADE: H2C\r\nhttp2-settings:\r\n",
       "Connection: keep-alive\r\n"},
      {"Upgrade: h2c/1, ,h2c\r\nX:  y \r\n", "X:  y \r\n"},
      {"HTTP2-Settings: AAA\r\nConnection: close\r\n", "Connection: close\r\n"},
      {"Upgrade: h2c\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nConnection: Upgrade\r\n", ""},
  };
  for (const auto& [sent, passes] : offers) {
    const Seen seen = FeedAll(get + sent + "\r\n" + get + sent + "\r\n");
    EXPECT_EQ(seen.outcome, Outcome::kGoOn) << sent << seen.problem;
    EXPECT_EQ(seen.forward, get + passes + "\r\n" + get + passes + "\r\n") << sent;
    EXPECT_EQ(seen.requests, 2U);
    // What would be HTTP/2 if the server switched all the same is refused.
    EXPECT_EQ(FeedAll(get + sent + "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").outcome,
              Outcome::kUnsupported);
    EXPECT_EQ(FeedAll("GET / HTTP/1.1\r\nHost: bad\r\n" + sent + "\r\n").outcome,
              Outcome::kRefused);
  }
  // With a body, and after blank lines.
  const std::string post = "POST / HTTP/1.1\r\nHost: a.example\r\n";
  const std::string body = "Content-Length: 3\r\n\r\nh2c";
  EXPECT_EQ(FeedAll("\r\n" + post + "Upgrade: h2c\r\n" + body).forward, "\r\n" + post + body);
  // Beside another protocol, which the server may still choose.
  const std::string both = get + "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: A\r\n" +
                           "Upgrade: h2c, websocket\r\n\r\n";
  const std::string one = get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  const Seen seen = Converse(both + "frames", "HTTP/1.1 101 x\r\n\r\n", 7, "more");
  EXPECT_EQ(seen.outcome, Outcome::kTunnel);
  EXPECT_EQ(seen.forward, one + "framesmore");
}

TEST(Http1InspectorTest, AnUpgradeMayHaveABody) {
  const std::string post =
      "POST / HTTP/1.1\r\nHost: a.example\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{";
  const std::string switched = "HTTP/1.1 101 UPGRADED\r\n\r\n";
  const Seen early = Converse(post, switched, 1, "}raw");
  EXPECT_EQ(early.outcome, Outcome::kTunnel);
  EXPECT_EQ(early.forward, post + "}raw");
  const Seen late = Converse(post + "}raw", switched, 1, "more");
  EXPECT_EQ(late.forward, post + "}rawmore");
}

TEST(Http1InspectorTest, ABodyIsNotHeld) {
  Http1Inspector inspector([](std::string_view, uint16_t) { return true; });
  const std::string head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n";
  EXPECT_EQ(inspector.FromClient(head).forward, head);
  EXPECT_EQ(inspector.FromClient("x").forward, "x");
}

}  // namespace
}  // namespace cleanroom::doors::wire
