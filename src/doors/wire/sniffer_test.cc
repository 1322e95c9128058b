#include "doors/wire/sniffer.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

namespace cleanroom::doors::wire {
namespace {

using namespace std::string_literals;  // NOLINT: wire forms hold NULs
using Kind = Sniffed::Kind;

std::string Number(size_t value, size_t width) {
  std::string out;
  while (width-- > 0) out += static_cast<char>(value >> (8 * width) & 0xff);
  return out;
}
std::string Vector(size_t width, const std::string& bytes) {
  return Number(bytes.size(), width) + bytes;
}

std::string Extension(size_t type, const std::string& data) {
  return Number(type, 2) + Vector(2, data);
}
std::string NameExtension(const std::string& name) {
  return Extension(0, Vector(2, "\0"s + Vector(2, name)));
}
const std::string kGrease = Extension(0x1a1a, "") + Extension(0xfafa, "\0"s);

// A handshake message.
std::string Hello(const std::string& extensions) {
  const std::string body = "\3\3"s + std::string(32, 'r') + Vector(1, std::string(32, 's')) +
                           Vector(2, "\x3a\x3a\x13\1\xc0\x2b") + Vector(1, "\0"s) +
                           (extensions.empty() ? "" : Vector(2, extensions));
  return "\1" + Vector(3, body);
}
// Records of at most `size` bytes.
std::string Records(const std::string& message, size_t size = 1 << 14, size_t version = 0x0301) {
  std::string out;
  for (size_t at = 0; at < message.size(); at += size) {
    out += "\x16" + Number(version, 2) + Vector(2, message.substr(at, size));
  }
  return out;
}

// The hello that OpenSSL sends.
std::string OpensslHello(const char* name, int max_version, bool with_alpn) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  SSL_CTX_set_max_proto_version(context.get(), max_version);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  if (name != nullptr) SSL_set_tlsext_host_name(ssl.get(), name);
  if (with_alpn) {
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>("\2h2\10http/1.1"), 12);
  }
  SSL_set_connect_state(ssl.get());
  EXPECT_EQ(SSL_do_handshake(ssl.get()), -1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);  // NOLINT(google-runtime-int): OpenSSL's
  return {data, static_cast<size_t>(size)};
}

// Feeds `bytes` in pieces of `step`, the first of `first` bytes, until something is known.
Sniffed Feed(const std::string& bytes, size_t first, size_t step, Sniffer& sniffer) {
  Sniffed out;
  for (size_t at = 0; at < bytes.size() && out.kind == Kind::kNeedMore;) {
    const size_t count = std::min(at == 0 ? first : step, bytes.size() - at);
    out = sniffer.Feed(std::string_view(bytes).substr(at, count));
    at += count;
    EXPECT_EQ(sniffer.bytes(), bytes.substr(0, at));
  }
  return out;
}

void Expect(const std::string& bytes, Kind kind, const std::string& name = "", bool ech = false) {
  Sniffer sniffer;
  const Sniffed whole = Feed(bytes, bytes.size(), 1, sniffer);
  const auto shown = testing::PrintToString(bytes.substr(0, 200));
  EXPECT_EQ(whole.kind, kind) << shown << whole.problem;
  EXPECT_EQ(whole.server_name, name) << shown;
  EXPECT_EQ(whole.encrypted_hello, ech) << shown;
  EXPECT_EQ(whole.problem.empty(), kind != Kind::kMalformed) << shown;
  if (bytes.size() > 2000) return;
  auto same = [&](const Sniffed& cut) {
    return cut.kind == kind && cut.server_name == name && cut.encrypted_hello == ech &&
           cut.problem == whole.problem;
  };
  for (size_t first = 1; first <= bytes.size(); ++first) {
    Sniffer two;
    ASSERT_TRUE(same(Feed(bytes, first, bytes.size(), two))) << shown << first;
  }
  for (size_t step = 1; step < 8; ++step) {
    Sniffer many;
    ASSERT_TRUE(same(Feed(bytes, step, step, many))) << shown << step;
  }
}

TEST(SnifferTest, RealHellos) {
  Expect(OpensslHello("api.example.com", TLS1_3_VERSION, true), Kind::kTls, "api.example.com");
  Expect(OpensslHello("api.example.com", TLS1_2_VERSION, false), Kind::kTls, "api.example.com");
  Expect(OpensslHello(nullptr, TLS1_3_VERSION, false), Kind::kTls, "");
}

TEST(SnifferTest, HelloOverAnyRecords) {
  const std::string hello = Hello(kGrease + Extension(35, std::string(200, 't')) +
                                  NameExtension("A.example") + Extension(16, "\0\3\2h2"s));
  for (const size_t size : {size_t{1}, size_t{2}, size_t{3}, size_t{5}, size_t{100}}) {
    for (const size_t version : {0x0301, 0x0302, 0x0303}) {
      Expect(Records(hello, size, version), Kind::kTls, "A.example");
    }
  }
  // What follows the record of the hello is nobody's business here: early data.
  Expect(Records(hello) + "\x17\3\3\0\1x"s, Kind::kTls, "A.example");
  for (const std::string& whole : {Records(hello), Records(hello, 1)}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      Sniffer sniffer;
      ASSERT_EQ(sniffer.Feed(whole.substr(0, size)).kind, Kind::kNeedMore) << size;
    }
  }
}

TEST(SnifferTest, HelloVariants) {
  Expect(Records(Hello("")), Kind::kTls);
  Expect(Records(Hello(kGrease)), Kind::kTls);
  Expect(Records(Hello(NameExtension("a.example") + Extension(0xfe0d, "x"))), Kind::kTls,
         "a.example", true);
  Expect(Records(Hello(Extension(0xfe0d, "x"))), Kind::kTls, "", true);
  const size_t fixed = Records(Hello(Extension(35, "") + NameExtension("a.example"))).size();
  auto of_size = [&](size_t size) {  // with the headers of its four records
    return Records(
        Hello(Extension(35, std::string(size - fixed - 15, 't')) + NameExtension("a.example")));
  };
  EXPECT_EQ(of_size(Sniffer::kMaxHello).size(), Sniffer::kMaxHello);
  Expect(of_size(Sniffer::kMaxHello), Kind::kTls, "a.example");
  Expect(of_size(Sniffer::kMaxHello + 1), Kind::kMalformed);
}

TEST(SnifferTest, MalformedHellos) {
  const std::string name = NameExtension("a.example");
  const std::string hello = Hello(name);
  const std::string greased = name + kGrease + kGrease;
  const std::string entry = "\0\0\1a"s;
  for (const std::string& bytes : {
           Records(Hello(name + name)),
           Records(Hello(greased)),
           Records(Hello(NameExtension(""))),
           Records(Hello(NameExtension("a\0b"s))),
           Records(Hello(NameExtension(std::string(256, 'a')))),
           Records(Hello(Extension(0, ""))),
           Records(Hello(Extension(0, "\0\0"s))),
           Records(Hello(Extension(0, Vector(2, entry + entry)))),
           Records(Hello(Extension(0, Vector(2, "\1\0\1a"s)))),
           Records(Hello(Extension(0, Vector(2, entry) + "x"))),
           Records(Hello(Extension(0, Vector(2, "\0\0\2a"s)))),
           Records(Hello(name + "\0\1"s)),
           Records(Hello(name + "\0\1\0\5x"s)),
           Records(Hello(name) + "x"),                                    // after the message
           Records(Hello("").substr(0, 4) + "\2" + Hello("").substr(5)),  // version 2
           Records("\1\0\0\0"s),
           Records("\1\xff\xff\xff"),
           Records("\2" + hello.substr(1)),  // a ServerHello
           Records(hello.substr(0, 40)) + "\x15\3\1\0\2\1\0"s,
           Records(hello.substr(0, 40)) + "\x16\3\1\0\0"s,
           Records(hello.substr(0, 40)) + "\x16\2\1\0\1x"s,
           "\x16\3\0\0\x40"s,
           "\x16\3\4\0\x40"s,
           "\x16\3\1\0\0"s,
           "\x16\3\1\x40\1"s,
           "\x15\3\1\0\2\2\x28"s,  // an alert
           "\x14\3\3\0\1\1"s,
           "\x17\3\3\0\x20"s,
       }) {
    Expect(bytes, Kind::kMalformed);
  }
}

TEST(SnifferTest, Sslv2Hellos) {
  Expect("\x80\x2e\1\3\1\0\x15\0\0\0\x10"s + std::string(37, 'x'), Kind::kTls);
  Expect("\x80\x2e\1\0\2"s, Kind::kTls);
  Expect("\x80\1\0\1"s, Kind::kOpaque);  // Thrift
}

TEST(SnifferTest, Http) {
  for (const std::string& bytes : {
           "GET / HTTP/1.1\r\nHost: a\r\n\r\n"s,
           "\r\n\r\nPOST http://a/ HTTP/1.0\r\n"s,
           "\n\nget /\thttp/1.1\n"s,
           "GET / HTTP/"s,
           " GET / HTTP/1.0\r\n"s,
           "GET /a b\x01\xff HTTP/1.0\r\n"s,
           "GET\x0b/\x0cHTTP/1.0\r\n"s,
           "X\xa0/\x85HTTP/1.0\r\n"s,
           "FOO / X HTTP/9\r\n"s,
           "PRI * HTTP/2.0\r\n\r\nSN"s,
           "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"s,
           "CONNECT a:443 HTTP/1.1\r\n"s,
       }) {
    Expect(bytes, Kind::kHttp1);
  }
  Expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"s, Kind::kHttp2);
  Expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"s, Kind::kHttp2);
}

TEST(SnifferTest, UndecidedBeginnings) {
  for (const std::string& bytes :
       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"s, "P"s, "PROXY"s, "\r\n\r\n\0\r\nQUIT"s, "\r\n"s,
        "GET / HTTP"s, "SSH-2.0"s, "\x16"s, "\x16\3\1"s, "\x80"s, "\x17\3"s,
        "GET /"s + std::string(8000, 'a')}) {
    Expect(bytes, Kind::kNeedMore);
  }
}

TEST(SnifferTest, MalformedHttp) {
  for (const std::string& bytes : {
           "GET /\r\n"s,
           "GET / \n"s,
           "POST  /x HTTQ/1.1\r\n"s,
           "GET http://a/\r\n"s,
           "\r\nGET /\r\n"s,
           "GET /HTTP/1.1\r\n"s,
           "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"s,
           "\r\n\r\n\0\r\nQUIT\n\x21\x11"s,
           "GET /"s + std::string(Sniffer::kMaxRequestLine, 'a'),
           std::string(Sniffer::kMaxRequestLine + 1, 'a'),
           std::string(Sniffer::kMaxRequestLine + 1, '\n'),
       }) {
    Expect(bytes, Kind::kMalformed);
  }
}

TEST(SnifferTest, OtherProtocolsAreOpaque) {
  for (const std::string& bytes : {
           "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"s,
           "EHLO x\r\n"s,
           "USER anonymous\r\n"s,
           "\0\0\0\x08\x04\xd2\x16\x2f"s,      // Postgres SSLRequest
           "\0\0\0\x29\0\3\0\0user\0me\0\0"s,  // Postgres startup
           "PING\r\n"s,
           "*1\r\n$4\r\nPING\r\n"s,
           "\x20\0\0\1\x85\xa6\xff\1"s,  // MySQL
           "AMQP\0\0\x09\1"s,
           "\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"s,
           "\x30\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0"s,  // LDAP
           "\x30\x20\2\1"s,
           "\x16\1\0\0\x01\0\0\0"s,  // MongoDB, by length
           "\x17\1\0\0\x01\0\0\0"s,
           "\x20\1\0\0\x01\0\0\0"s,
           "\x13"
           "BitTorrent protocol"s,
           "<?xml version='1.0'?>"s,
           "{\"jsonrpc\""s,
           "@RSYNCD: 31.0\n"s,
           "0032git-upload-pack /project.git\0host=a\0"s,
           "get /key\r\n"s,
           "LIST /pub\r\n"s,
           "CONNECT\naccept-version:1.2\n"s,
           "PRINT x\r\n"s,
           "\r\n\r\n\0\r\nQUIX"s,
           "a GET/HTTP/1.1\r\n"s,
       }) {
    Expect(bytes, Kind::kOpaque);
  }
}

// The cost of feeding bytes one by one grows with their number, not with its square: eight times as
// many take far less than 64 times as long.
TEST(SnifferTest, BytewiseCostsNoMore) {
  auto time = [&](size_t ticket) {
    const std::string hello =
        Records(Hello(Extension(35, std::string(ticket, 't')) + NameExtension("a.example")));
    auto least = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 5; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      Sniffer sniffer;
      Sniffed out;
      for (const char& byte : hello) out = sniffer.Feed({&byte, 1});
      EXPECT_EQ(out.server_name, "a.example");
      least = std::min(least, std::chrono::steady_clock::now() - begin);
    }
    return least;
  };
  const auto few = time(8'000 - 120);
  EXPECT_LT(time(64'000 - 120), 30 * few);
}

}  // namespace
}  // namespace cleanroom::doors::wire
