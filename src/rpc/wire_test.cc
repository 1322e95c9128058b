// The pure pieces of the protocols.
#include <gtest/gtest.h>

#include <string>

#include "rpc/connect_error.h"
#include "rpc/envelope.h"
#include "rpc/grpc_status.h"
#include "rpc/protocol.h"
#include "rpc/status.h"

namespace cleanroom::rpc {
namespace {

// What a peer sent may be quoted. Other implementations refuse strings that are not UTF-8, and the
// exact code with them.
TEST(StatusTest, AMessageThatIsNotTextArrives) {
  const Error error(ErrorCode::kPolicyInvalid, "odd \xff");
  const auto back = ParseGrpcTrailers(GrpcTrailers(std::unexpected(error)));
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code(), ErrorCode::kPolicyInvalid);
  EXPECT_EQ(back.error().message(), "odd ?");
}

TEST(EnvelopeTest, AnyCutOfTheBytes) {
  std::string bytes;
  for (const char* payload : {"", "one", "twotwo"}) {
    const size_t place = BeginEnvelope(bytes, 2);
    bytes += payload;
    ASSERT_TRUE(EndEnvelope(bytes, place).has_value());
  }
  for (size_t step = 1; step <= bytes.size(); ++step) {
    EnvelopeReader reader(6);
    std::string all;
    for (size_t i = 0; i < bytes.size(); i += step) {
      reader.Input().append(bytes, i, step);
      while (true) {
        auto next = reader.Next();
        ASSERT_TRUE(next.has_value());
        if (!*next) break;
        EXPECT_EQ((*next)->flags, 2);
        all += std::string((*next)->payload) + ",";
      }
    }
    EXPECT_EQ(all, ",one,twotwo,");
    EXPECT_FALSE(reader.partial());
  }
}

TEST(EnvelopeTest, SaysHowMuchIsMissing) {
  std::string bytes;
  const size_t place = BeginEnvelope(bytes, 0);
  bytes += "payload";
  ASSERT_TRUE(EndEnvelope(bytes, place).has_value());
  EnvelopeReader reader(100);
  for (size_t have = 0; have < bytes.size(); ++have) {
    EXPECT_EQ(reader.missing(), have < kEnvelopeHead ? kEnvelopeHead - have : bytes.size() - have);
    reader.Input().push_back(bytes[have]);
  }
  EXPECT_EQ(reader.missing(), 0U);
  ASSERT_TRUE(reader.Next().has_value());
  EXPECT_EQ(reader.missing(), kEnvelopeHead);
}

TEST(EnvelopeTest, TheAnnouncedLengthIsChecked) {
  EnvelopeReader reader(100);
  reader.Input() = std::string("\0\xff\xff\xff\xff", 5);
  const auto next = reader.Next();
  ASSERT_FALSE(next.has_value());
  EXPECT_EQ(next.error().code(), ErrorCode::kResourceExhausted);
}

TEST(StatusTest, EveryCodeComesBackExactly) {
  for (const ErrorCode code : {ErrorCode::kPolicyInvalid,
                               ErrorCode::kPolicyConflict,
                               ErrorCode::kBackendUnavailable,
                               ErrorCode::kBackendCapabilityMismatch,
                               ErrorCode::kFailedPrecondition,
                               ErrorCode::kHostNotAllowed,
                               ErrorCode::kRegistryNotAllowed,
                               ErrorCode::kLockfileViolation,
                               ErrorCode::kSecretScopeViolation,
                               ErrorCode::kRuntimeLaunchFailed,
                               ErrorCode::kNotFound,
                               ErrorCode::kAlreadyExists,
                               ErrorCode::kInvalidArgument,
                               ErrorCode::kResourceExhausted,
                               ErrorCode::kPermissionDenied,
                               ErrorCode::kUnauthenticated,
                               ErrorCode::kUpstreamError,
                               ErrorCode::kDataCorrupt,
                               ErrorCode::kUnavailable,
                               ErrorCode::kDeadlineExceeded,
                               ErrorCode::kCanceled,
                               ErrorCode::kUnimplemented,
                               ErrorCode::kInternal}) {
    const Result<void> failed = Err(code, "a: b\n\xc3\xa9");
    const auto grpc = ParseGrpcTrailers(ParseWebTrailers(WebTrailers(GrpcTrailers(failed))));
    EXPECT_EQ(grpc.error().ToString(), failed.error().ToString());
    const auto connect = ParseConnectEnd(ConnectEndJson(failed));
    EXPECT_EQ(connect.error().ToString(), failed.error().ToString());
    EXPECT_EQ(FromConnectName(ConnectName(ToRpcCode(code))), ToRpcCode(code));
    const Result<void> full = Err(Error(code, "a")
                                      .About(SubjectKind::kRegistry, "r.example:5000")
                                      .Remedy("Log in with: \xc3\xa9"));
    for (const auto& read :
         {ParseGrpcTrailers(GrpcTrailers(full)), ParseConnectEnd(ConnectEndJson(full))}) {
      EXPECT_EQ(read.error().subject(), full.error().subject());
      EXPECT_EQ(read.error().remedy(), full.error().remedy());
    }
    // Without the detail the family is left, and the prefix is not doubled.
    const Error plain = FromWire(ToRpcCode(code), failed.error().ToString(), {});
    EXPECT_EQ(ToRpcCode(plain.code()), ToRpcCode(code));
  }
}

TEST(StatusTest, ConnectJson) {
  const Error error(ErrorCode::kNotFound, "no \"x\"");
  EXPECT_EQ(
      ConnectErrorJson(error),
      R"({"code":"not_found","details":[{"type":"cleanroom.v1.ErrorDetail","value":"Cglub3RfZm91bmQSBm5vICJ4Ig"}],)"
      R"("message":"not_found: no \"x\""})");
  EXPECT_EQ(ParseConnectError("<html>", 503).code(), ErrorCode::kUnavailable);
  EXPECT_EQ(ParseConnectError(R"({"code":"weird"})", 404).code(), ErrorCode::kUnimplemented);
  EXPECT_EQ(ParseConnectEnd("{}").has_value(), true);
  for (const std::string& bad :
       {std::string("["), std::string(R"({"error":1})"), std::string(R"({"error":{"code":7}})"),
        "{\"error\":" + std::string(60'000, '['), std::string(100'000, ' ')}) {
    const auto outcome = ParseConnectEnd(bad);
    ASSERT_FALSE(outcome.has_value()) << bad.substr(0, 20);
    EXPECT_EQ(outcome.error().code(), ErrorCode::kInternal);
  }
}

TEST(StatusTest, GrpcTrailersOfOthers) {
  EXPECT_EQ(ParseGrpcTrailers({}).error().code(), ErrorCode::kInternal);
  EXPECT_EQ(ParseGrpcTrailers({{"grpc-status", "x"}}).error().code(), ErrorCode::kInternal);
  EXPECT_EQ(ParseGrpcTrailers({{"grpc-status", "99"}}).error().code(), ErrorCode::kInternal);
  const auto outcome = ParseGrpcTrailers(
      {{"grpc-status", "5"}, {"grpc-message", "a%20b"}, {"grpc-status-details-bin", "!!"}});
  EXPECT_EQ(outcome.error().ToString(), "not_found: a b");
}

TEST(ProtocolTest, ContentTypes) {
  const auto type = [](std::string_view text) {
    const auto parsed = ParseContentType(text);
    return parsed ? FormatContentType(*parsed) : std::string("none");
  };
  EXPECT_EQ(type("application/proto"), "application/proto");
  EXPECT_EQ(type("application/json; charset=utf-8"), "application/json");
  EXPECT_EQ(type("Application/gRPC"), "application/grpc+proto");
  EXPECT_EQ(type("application/grpc-web+json"), "application/grpc-web+json");
  EXPECT_EQ(type("application/grpc-web-text"), "application/grpc-web-text+proto");
  EXPECT_EQ(type("application/connect+proto"), "application/connect+proto");
  for (const char* bad :
       {"", "text/plain", "application/", "application/connect", "application/grpc+xml"}) {
    EXPECT_EQ(type(bad), "none") << bad;
  }
}

TEST(ProtocolTest, Timeouts) {
  using std::chrono::nanoseconds;
  const auto connect = [](std::string text) {
    return ParseTimeout(Framing::kConnectUnary, {{"connect-timeout-ms", std::move(text)}});
  };
  const auto grpc = [](std::string text) {
    return ParseTimeout(Framing::kGrpc, {{"grpc-timeout", std::move(text)}});
  };
  EXPECT_EQ(**connect("1500"), std::chrono::milliseconds(1500));
  EXPECT_EQ(**grpc("20m"), std::chrono::milliseconds(20));
  EXPECT_EQ(**grpc("7n"), nanoseconds(7));
  EXPECT_GT(**grpc("99999999H"), std::chrono::hours(24 * 365));
  for (const char* bad : {"-1", "1.5", "x", "12345678901", "+1"}) {
    EXPECT_EQ(connect(bad).error().code(), ErrorCode::kInvalidArgument) << bad;
  }
  for (const char* bad : {"1", "m", "123456789m", "1d", "-1m"}) {
    EXPECT_EQ(grpc(bad).error().code(), ErrorCode::kInvalidArgument) << bad;
  }
  http::Headers headers;
  AddTimeout(Framing::kGrpc, std::chrono::milliseconds(250), headers);
  EXPECT_EQ(**ParseTimeout(Framing::kGrpc, headers), std::chrono::milliseconds(250));
}

}  // namespace
}  // namespace cleanroom::rpc
