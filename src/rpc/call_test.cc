// Calls end to end: channel, HTTP/2, server and handlers in one process, in each protocol.
#include <gtest/gtest.h>

#include <string>

#include "cleanroom/internal/v1/guest.pb.h"
#include "http/message.h"
#include "rpc/testing/link.h"

namespace cleanroom::rpc {
namespace {

namespace iv1 = ::cleanroom::internal::v1;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The service under test, with the messages of the guest link.
class Echo {
 public:
  Echo() {
    router_.Unary<iv1::ReadFileRequest, iv1::FileChunk>(
        "/test.Echo/Unary", [this](CallContext& call, iv1::ReadFileRequest request) {
          return Unary(call, std::move(request));
        });
    router_.ServerStream<iv1::ReadFileRequest, iv1::FileChunk>(
        "/test.Echo/Count",
        [this](CallContext&, iv1::ReadFileRequest request, Writer<iv1::FileChunk>& out) {
          return Count(std::move(request), out);
        });
    router_.Bidi<iv1::ExecInput, iv1::ExecOutput>(
        "/test.Echo/Talk", [this](CallContext&, Reader<iv1::ExecInput>& in,
                                  Writer<iv1::ExecOutput>& out) { return Talk(in, out); });
    router_.ClientStream<iv1::ExecInput, iv1::FileChunk>(
        "/test.Echo/Sum", [this](CallContext&, Reader<iv1::ExecInput>& in) { return Sum(in); });
    router_.Unary<iv1::ReadFileRequest, iv1::FileChunk>(
        "/test.Echo/Hang", [this](CallContext&, const iv1::ReadFileRequest&) { return Hang(); });
  }

  Router router_;
  int hanging_ = 0;
  int cancelled_ = 0;
  CallContext last_;

 private:
  Awaitable<Result<iv1::FileChunk>> Unary(CallContext& call, iv1::ReadFileRequest request) {
    last_ = call;
    if (request.path() == "denied")
      co_return Err(Error(ErrorCode::kHostNotAllowed, "h\xc3\xa9 100% \"no\"")
                        .About(SubjectKind::kPolicy, "p")
                        .Remedy("Allow it"));
    iv1::FileChunk chunk;
    chunk.set_data(request.path());
    chunk.set_size(request.max_bytes());
    co_return chunk;
  }
  Awaitable<Result<void>> Count(iv1::ReadFileRequest request, Writer<iv1::FileChunk>& out) {
    for (int64_t i = 0; i < request.max_bytes(); ++i) {
      iv1::FileChunk chunk;
      chunk.set_size(i);
      CR_CO_TRY(co_await out.Write(chunk));
    }
    if (request.path() == "fail") co_return Err(ErrorCode::kNotFound, "no more");
    co_return Result<void>();
  }
  Awaitable<Result<void>> Talk(Reader<iv1::ExecInput>& in, Writer<iv1::ExecOutput>& out) {
    while (true) {
      CR_CO_TRY_ASSIGN(auto message, co_await in.Next());
      if (!message) break;
      iv1::ExecOutput output;
      output.set_stdout(message->stdin());
      CR_CO_TRY(co_await out.Write(output));
    }
    co_return Result<void>();
  }
  Awaitable<Result<iv1::FileChunk>> Sum(Reader<iv1::ExecInput>& in) {
    iv1::FileChunk total;
    while (true) {
      CR_CO_TRY_ASSIGN(auto message, co_await in.Next());
      if (!message) break;
      total.set_size(total.size() + static_cast<int64_t>(message->stdin().size()));
    }
    co_return total;
  }
  Awaitable<Result<iv1::FileChunk>> Hang() {
    ++hanging_;
    auto slept = co_await SleepFor(std::chrono::hours(1));
    --hanging_;
    if (!slept) ++cancelled_;
    co_return Err(ErrorCode::kCanceled, "stopped");
  }
};

iv1::ReadFileRequest Request(std::string path, int64_t n = 0) {
  iv1::ReadFileRequest request;
  request.set_path(std::move(path));
  request.set_max_bytes(n);
  return request;
}

iv1::ExecInput Input(std::string bytes) {
  iv1::ExecInput input;
  input.set_stdin(std::move(bytes));
  return input;
}

class CallTest : public ::testing::TestWithParam<Protocol> {
 protected:
  ChannelOptions Options() const {
    ChannelOptions options;
    options.protocol = GetParam();
    options.headers.emplace_back("authorization", "Bearer x");
    return options;
  }
};

Awaitable<void> UnaryCalls(Channel& channel) {
  auto good = co_await channel.Call<iv1::FileChunk>("/test.Echo/Unary", Request("hello", 7));
  EXPECT_TRUE(good.has_value()) << good.error().ToString();
  EXPECT_EQ(good->data(), "hello");
  EXPECT_EQ(good->size(), 7);
  auto empty = co_await channel.Call<iv1::FileChunk>("/test.Echo/Unary", Request(""));
  EXPECT_TRUE(empty.has_value()) << empty.error().ToString();
  auto denied = co_await channel.Call<iv1::FileChunk>("/test.Echo/Unary", Request("denied"));
  EXPECT_FALSE(denied.has_value());
  EXPECT_EQ(denied.error().code(), ErrorCode::kHostNotAllowed);
  EXPECT_EQ(denied.error().message(), "h\xc3\xa9 100% \"no\"");
  auto unknown = co_await channel.Call<iv1::FileChunk>("/test.Echo/Nothing", Request(""));
  EXPECT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code(), ErrorCode::kUnimplemented);
}

Awaitable<void> Refused(Channel& channel, std::string& remedy, SubjectKind& about) {
  auto denied = co_await channel.Call<iv1::FileChunk>("/test.Echo/Unary", Request("denied"));
  EXPECT_FALSE(denied.has_value());
  remedy = denied.error().remedy();
  about = denied.error().subject().kind;
}

// A server that is not trusted tells nobody what to run.
TEST_P(CallTest, AdviceIsTakenWhereTheServerIsTrusted) {
  for (const Advice advice : {Advice::kTake, Advice::kDrop}) {
    Echo echo;
    ChannelOptions options = Options();
    options.advice = advice;
    TestLink link(echo.router_, {}, std::move(options));
    std::string remedy;
    SubjectKind about = SubjectKind::kFile;
    link.Run(Refused(link.channel(), remedy, about));
    EXPECT_EQ(remedy, advice == Advice::kTake ? "Allow it" : "");
    EXPECT_EQ(about, advice == Advice::kTake ? SubjectKind::kPolicy : SubjectKind::kNone);
  }
}

TEST_P(CallTest, UnaryAndErrors) {
  Echo echo;
  TestLink link(echo.router_, {}, Options());
  link.Run(UnaryCalls(link.channel()));
  EXPECT_EQ(echo.last_.procedure, "/test.Echo/Unary");
  EXPECT_EQ(http::FindHeader(echo.last_.headers, "authorization"), "Bearer x");
  EXPECT_TRUE(http::FindHeader(echo.last_.headers, "content-type").empty());
}

Awaitable<void> CountTo(Channel& channel, std::string path, int64_t n, ErrorCode* failure) {
  auto stream = co_await channel.CallServerStream<iv1::FileChunk>("/test.Echo/Count",
                                                                  Request(std::move(path), n));
  EXPECT_TRUE(stream.has_value());
  for (int64_t i = 0; i < n; ++i) {
    auto chunk = co_await stream->Next();
    EXPECT_TRUE(chunk.has_value() && chunk->has_value());
    if (!chunk || !*chunk) co_return;
    EXPECT_EQ((*chunk)->size(), i);
  }
  auto end = co_await stream->Next();
  if (end) {
    EXPECT_FALSE(end->has_value());
  } else {
    *failure = end.error().code();
  }
}

TEST_P(CallTest, ServerStream) {
  Echo echo;
  TestLink link(echo.router_, {}, Options());
  auto failure = ErrorCode::kInternal;
  link.Run(CountTo(link.channel(), "", 1000, &failure));
  EXPECT_EQ(failure, ErrorCode::kInternal);
  link.Run(CountTo(link.channel(), "fail", 3, &failure));
  EXPECT_EQ(failure, ErrorCode::kNotFound);
  link.Run(CountTo(link.channel(), "fail", 0, &failure));
  EXPECT_EQ(failure, ErrorCode::kNotFound);
}

Awaitable<void> SumUp(Channel& channel) {
  auto stream =
      co_await channel.Open<iv1::ExecInput, iv1::FileChunk>("/test.Echo/Sum", Shape::kClientStream);
  EXPECT_TRUE(stream.has_value());
  for (int i = 0; i < 100; ++i) {
    auto written = co_await stream->Write(Input(std::string(1000, 'x')));
    EXPECT_TRUE(written.has_value());
  }
  auto closed = co_await stream->CloseWrite();
  EXPECT_TRUE(closed.has_value());
  auto sum = co_await stream->Next();
  EXPECT_TRUE(sum.has_value() && sum->has_value());
  EXPECT_EQ(sum && *sum ? (*sum)->size() : 0, 100000);
  auto end = co_await stream->Next();
  EXPECT_TRUE(end.has_value() && !end->has_value());
}

TEST_P(CallTest, ClientStream) {
  Echo echo;
  TestLink link(echo.router_, {}, Options());
  link.Run(SumUp(link.channel()));
}

Awaitable<void> PingPong(Channel& channel) {
  auto stream =
      co_await channel.Open<iv1::ExecInput, iv1::ExecOutput>("/test.Echo/Talk", Shape::kBidi);
  EXPECT_TRUE(stream.has_value());
  for (int i = 0; i < 50; ++i) {
    auto written = co_await stream->Write(Input(std::to_string(i)));
    EXPECT_TRUE(written.has_value());
    auto answer = co_await stream->Next();
    EXPECT_TRUE(answer.has_value() && answer->has_value());
    if (!answer || !*answer) co_return;
    EXPECT_EQ((*answer)->stdout(), std::to_string(i));
  }
  auto closed = co_await stream->CloseWrite();
  EXPECT_TRUE(closed.has_value());
  auto end = co_await stream->Next();
  EXPECT_TRUE(end.has_value() && !end->has_value());
}

TEST_P(CallTest, BidiIsFullDuplex) {
  Echo echo;
  TestLink link(echo.router_, {}, Options());
  link.Run(PingPong(link.channel()));
}

Awaitable<void> HangUntilDeadline(Channel& channel, ErrorCode* code) {
  CallOptions options;
  options.deadline = steady_clock::now() + milliseconds(20);
  auto late = co_await channel.Call<iv1::FileChunk>("/test.Echo/Hang", Request(""), options);
  EXPECT_FALSE(late.has_value());
  *code = late.error().code();
}

// Lets the other tasks run until the condition holds.
template <typename Condition>
void RunUntil(TestLink& link, Condition condition) {
  while (!condition()) link.io().run_one_for(std::chrono::seconds(20));
}

TEST_P(CallTest, DeadlineEndsCallAndHandler) {
  Echo echo;
  TestLink link(echo.router_, {}, Options());
  auto code = ErrorCode::kInternal;
  link.Run(HangUntilDeadline(link.channel(), &code));
  EXPECT_EQ(code, ErrorCode::kDeadlineExceeded);
  RunUntil(link, [&] { return echo.cancelled_ == 1; });
}

Awaitable<void> CallAndWait(Channel& channel, Echo* echo) {
  auto stream = co_await channel.CallServerStream<iv1::FileChunk>("/test.Echo/Hang", Request(""));
  EXPECT_TRUE(stream.has_value());
  while (echo->hanging_ == 0) (void)co_await SleepFor(milliseconds(1));
  stream->Cancel();
  auto end = co_await stream->Next();
  EXPECT_FALSE(end.has_value());
  EXPECT_EQ(end.error().code(), ErrorCode::kCanceled);
  while (echo->cancelled_ == 0) (void)co_await SleepFor(milliseconds(1));
}

TEST_P(CallTest, CancelReachesTheHandler) {
  if (GetParam() == Protocol::kConnect)
    GTEST_SKIP() << "Hang is unary: its framing is no stream in Connect";
  Echo echo;
  TestLink link(echo.router_, {}, Options());
  link.Run(CallAndWait(link.channel(), &echo));
  EXPECT_EQ(echo.hanging_, 0);
}

INSTANTIATE_TEST_SUITE_P(Protocols, CallTest,
                         ::testing::Values(Protocol::kConnect, Protocol::kGrpc, Protocol::kGrpcWeb),
                         [](const auto& info) {
                           switch (info.param) {
                             case Protocol::kConnect:
                               return "Connect";
                             case Protocol::kGrpc:
                               return "Grpc";
                             default:
                               return "GrpcWeb";
                           }
                         });

}  // namespace
}  // namespace cleanroom::rpc
