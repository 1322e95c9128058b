// Compressed messages, as raw HTTP/1.1 against the server: what may come packed, what goes out
// packed, and what is refused.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "cleanroom/internal/v1/guest.pb.h"
#include "http/testing/peer.h"
#include "rpc/envelope.h"
#include "rpc/gzip/gzip.h"
#include "rpc/server.h"

namespace cleanroom::rpc {
namespace {

namespace iv1 = ::cleanroom::internal::v1;

constexpr size_t kMaxMessage = 100'000;

Awaitable<Result<iv1::FileChunk>> Echo(CallContext&, iv1::FileChunk request) {
  iv1::FileChunk chunk;
  chunk.set_data(request.data());
  co_return chunk;
}

Awaitable<Result<void>> Talk(CallContext&, Reader<iv1::FileChunk>& in,
                             Writer<iv1::FileChunk>& out) {
  while (true) {
    CR_CO_TRY_ASSIGN(auto request, co_await in.Next());
    if (!request) break;
    iv1::FileChunk chunk;
    chunk.set_data(request->data());
    CR_CO_TRY(co_await out.Write(chunk));
  }
  co_return Result<void>();
}

std::string Message(std::string data) {
  iv1::FileChunk request;
  request.set_data(std::move(data));
  return request.SerializeAsString();
}

std::string Envelope(uint8_t flags, std::string_view payload) {
  std::string out;
  const size_t place = BeginEnvelope(out, flags);
  out += payload;
  EXPECT_TRUE(EndEnvelope(out, place).has_value());
  return out;
}

struct Response {
  std::string head;
  std::string body;
};

// Undoes the chunked coding.
std::string Dechunk(std::string_view body) {
  std::string out;
  while (!body.empty()) {
    const size_t line = body.find("\r\n");
    const size_t size = std::stoul(std::string(body.substr(0, line)), nullptr, 16);
    out += body.substr(line + 2, size);
    body.remove_prefix(std::min(body.size(), line + 2 + size + 2));
  }
  return out;
}

class CompressionTest : public ::testing::Test {
 protected:
  CompressionTest() {
    router_.Unary<iv1::FileChunk, iv1::FileChunk>("/t.T/Echo", Echo);
    router_.Bidi<iv1::FileChunk, iv1::FileChunk>("/t.T/Talk", Talk);
  }

  Response Post(const std::string& path, const std::string& headers, const std::string& body) {
    ServerOptions options;
    options.max_message_bytes = kMaxMessage;
    options.compress_from = compress_from_;
    const Server server(router_, options, nullptr, &Gzip());
    http::TestPeer peer([&server](std::unique_ptr<http::ByteStream> stream) {
      return server.Serve(std::move(stream));
    });
    const std::string got = peer.ExchangeToEnd(
        fmt::format("POST {} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{}\r\n{}", path,
                    body.size(), headers, body));
    const size_t end = got.find("\r\n\r\n");
    Response out{.head = got.substr(0, end), .body = got.substr(std::min(got.size(), end + 4))};
    if (out.head.find("transfer-encoding: chunked") != std::string::npos)
      out.body = Dechunk(out.body);
    return out;
  }
  Response PostUnary(const std::string& headers, const std::string& body) {
    return Post("/t.T/Echo", "content-type: application/proto\r\n" + headers, body);
  }
  static std::string Data(const std::string& message) {
    iv1::FileChunk chunk;
    EXPECT_TRUE(chunk.ParseFromString(message));
    return chunk.data();
  }

  size_t compress_from_ = 1024;
  Router router_;
};

constexpr const char* kPacked = "content-encoding: gzip\r\n";
constexpr const char* kAccepts = "accept-encoding: br;q=1, gzip\r\n";

TEST_F(CompressionTest, APackedUnaryRequestIsTaken) {
  const Response got = PostUnary(kPacked, Gzip().Pack(Message("hello")));
  EXPECT_TRUE(got.head.starts_with("HTTP/1.1 200")) << got.head << got.body;
  EXPECT_EQ(Data(got.body), "hello");
  EXPECT_EQ(got.head.find("content-encoding"), std::string::npos);
}

TEST_F(CompressionTest, LargeAnswersArePackedForWhoTakesThem) {
  const std::string large(50'000, 'x');
  const Response packed = PostUnary(kAccepts, Message(large));
  EXPECT_NE(packed.head.find("content-encoding: gzip"), std::string::npos);
  EXPECT_LT(packed.body.size(), 1000U);
  const auto body = Gzip().Unpack(packed.body, kMaxMessage);
  ASSERT_TRUE(body.has_value());
  EXPECT_EQ(Data(*body), large);

  for (const char* headers : {"", "accept-encoding: br\r\n", "accept-encoding: gzip;q=0\r\n"}) {
    const Response plain = PostUnary(headers, Message(large));
    EXPECT_EQ(plain.head.find("content-encoding"), std::string::npos) << headers;
    EXPECT_EQ(Data(plain.body), large);
  }
  const Response small = PostUnary(kAccepts, Message("x"));
  EXPECT_EQ(Data(small.body), "x");
  compress_from_ = 0;
  EXPECT_EQ(Data(PostUnary(kAccepts, Message(large)).body), large);
}

TEST_F(CompressionTest, UnknownPackingsAreRefusedWithWhatIsKnown) {
  const Response unary = PostUnary("content-encoding: br\r\n", "x");
  EXPECT_TRUE(unary.head.starts_with("HTTP/1.1 501")) << unary.head;
  EXPECT_NE(unary.head.find("accept-encoding: gzip"), std::string::npos);
  EXPECT_NE(unary.body.find("\"code\":\"unimplemented\""), std::string::npos);
  EXPECT_NE(unary.body.find("supported: gzip, identity"), std::string::npos) << unary.body;

  const Response stream = Post("/t.T/Talk",
                               "content-type: application/connect+proto\r\n"
                               "connect-content-encoding: zstd\r\n",
                               "");
  EXPECT_NE(stream.head.find("connect-accept-encoding: gzip"), std::string::npos);
  EXPECT_NE(stream.body.find("\"code\":\"unimplemented\""), std::string::npos);

  const Response web =
      Post("/t.T/Talk", "content-type: application/grpc-web+proto\r\ngrpc-encoding: zstd\r\n", "");
  EXPECT_NE(web.head.find("grpc-accept-encoding: gzip"), std::string::npos);
  EXPECT_NE(web.body.find("grpc-status: 12"), std::string::npos);
}

TEST_F(CompressionTest, ABombIsRefused) {
  const std::string bomb = Gzip().Pack(Message(std::string(1 << 20, 'x')));
  ASSERT_LT(bomb.size(), kMaxMessage);
  const Response unary = PostUnary(kPacked, bomb);
  EXPECT_TRUE(unary.head.starts_with("HTTP/1.1 429")) << unary.head;
  EXPECT_NE(unary.body.find("resource_exhausted"), std::string::npos);
  const Response stream = Post("/t.T/Talk",
                               "content-type: application/connect+proto\r\n"
                               "connect-content-encoding: gzip\r\n",
                               Envelope(kFlagCompressed, bomb));
  EXPECT_NE(stream.body.find("resource_exhausted"), std::string::npos) << stream.body;
}

TEST_F(CompressionTest, DamageIsTheCallersMistake) {
  const Response got = PostUnary(kPacked, Message("not packed at all"));
  EXPECT_TRUE(got.head.starts_with("HTTP/1.1 400")) << got.head;
  EXPECT_NE(got.body.find("invalid_argument"), std::string::npos);
}

TEST_F(CompressionTest, EachMessageOfAStreamSaysWhetherItIsPacked) {
  const std::string large(5000, 'x');
  const Response got =
      Post("/t.T/Talk",
           "content-type: application/connect+proto\r\nconnect-content-encoding: gzip\r\n"
           "connect-accept-encoding: gzip\r\n",
           Envelope(kFlagCompressed, Gzip().Pack(Message(large))) + Envelope(0, Message("plain")) +
               Envelope(kFlagCompressed, ""));
  EXPECT_NE(got.head.find("connect-content-encoding: gzip"), std::string::npos);
  EnvelopeReader reader(kMaxMessage);
  reader.Input() = got.body;
  auto first = reader.Next();
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->flags, kFlagCompressed);
  const auto unpacked = Gzip().Unpack((*first)->payload, kMaxMessage);
  ASSERT_TRUE(unpacked.has_value());
  EXPECT_EQ(Data(*unpacked), large);
  auto second = reader.Next();
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->flags, 0);
  EXPECT_EQ(Data(std::string((*second)->payload)), "plain");
  auto third = reader.Next();
  ASSERT_TRUE(third && *third);
  EXPECT_EQ((*third)->payload, "");
  auto end = reader.Next();
  ASSERT_TRUE(end && *end);
  EXPECT_EQ((*end)->flags, kFlagConnectEnd);
  EXPECT_EQ((*end)->payload, "{}");
}

TEST_F(CompressionTest, APackedMessageThatNobodyAnnouncedIsRefused) {
  const Response got = Post("/t.T/Talk", "content-type: application/connect+proto\r\n",
                            Envelope(kFlagCompressed, Gzip().Pack(Message("x"))));
  EXPECT_NE(got.body.find("\"code\":\"internal\""), std::string::npos) << got.body;
}

TEST_F(CompressionTest, WhatDoesNotShrinkGoesAsItIs) {
  std::string noise(4000, '\0');
  uint64_t state = 7;
  for (char& c : noise) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    c = static_cast<char>(state >> 56);
  }
  const Response got = Post("/t.T/Talk",
                            "content-type: application/grpc-web+proto\r\n"
                            "grpc-accept-encoding: identity,gzip\r\n",
                            Envelope(0, Message(noise)) + Envelope(0, Message(noise)));
  EXPECT_NE(got.head.find("grpc-encoding: gzip"), std::string::npos);
  EnvelopeReader reader(kMaxMessage);
  reader.Input() = got.body;
  for (int i = 0; i < 2; ++i) {
    auto next = reader.Next();
    ASSERT_TRUE(next && *next);
    EXPECT_EQ((*next)->flags, 0);
  }
}

}  // namespace
}  // namespace cleanroom::rpc
