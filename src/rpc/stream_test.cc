// Streams under load and in trouble: flow control, slow readers, vanishing peers, limits.
#include <gtest/gtest.h>

#include <string>

#include "cleanroom/internal/v1/guest.pb.h"
#include "rpc/testing/link.h"

namespace cleanroom::rpc {
namespace {

namespace iv1 = ::cleanroom::internal::v1;

constexpr size_t kChunk = 64U << 10;

struct Progress {
  int64_t poured = 0;  // bytes a handler has written
  bool pouring = false;
  Result<void> ended = Err(ErrorCode::kInternal, "not yet");
};

// Writes chunks until it has written max_bytes or fails.
Awaitable<Result<void>> Pour(Progress* progress, iv1::ReadFileRequest request,
                             Writer<iv1::FileChunk>& out) {
  progress->pouring = true;
  iv1::FileChunk chunk;
  chunk.set_data(std::string(kChunk, 'x'));
  Result<void> written;
  while (written && progress->poured < request.max_bytes()) {
    written = co_await out.Write(chunk);
    progress->poured += kChunk;
  }
  progress->pouring = false;
  progress->ended = written;
  co_return written;
}

Awaitable<Result<void>> Talk(Reader<iv1::ExecInput>& in, Writer<iv1::ExecOutput>& out) {
  while (true) {
    CR_CO_TRY_ASSIGN(auto message, co_await in.Next());
    if (!message) co_return Result<void>();
    iv1::ExecOutput output;
    output.set_stdout(std::move(*message->mutable_stdin()));
    CR_CO_TRY(co_await out.Write(output));
  }
}

Awaitable<Result<iv1::FileChunk>> Get(iv1::ReadFileRequest request) {
  iv1::FileChunk chunk;
  chunk.set_data(std::string(static_cast<size_t>(request.max_bytes()), 'x'));
  co_return chunk;
}

class StreamTest : public ::testing::Test {
 protected:
  StreamTest() {
    router_.ServerStream<iv1::ReadFileRequest, iv1::FileChunk>(
        "/t/Pour", [this](CallContext&, iv1::ReadFileRequest request, Writer<iv1::FileChunk>& out) {
          return Pour(&progress_, std::move(request), out);
        });
    router_.Bidi<iv1::ExecInput, iv1::ExecOutput>(
        "/t/Talk", [](CallContext&, Reader<iv1::ExecInput>& in, Writer<iv1::ExecOutput>& out) {
          return Talk(in, out);
        });
    router_.Unary<iv1::ReadFileRequest, iv1::FileChunk>(
        "/t/Get",
        [](CallContext&, iv1::ReadFileRequest request) { return Get(std::move(request)); });
  }

  Router router_;
  Progress progress_;
};

iv1::ReadFileRequest Bytes(int64_t n) {
  iv1::ReadFileRequest request;
  request.set_max_bytes(n);
  return request;
}

Awaitable<void> SendAll(ClientStream<iv1::ExecInput, iv1::ExecOutput>* stream, int chunks) {
  iv1::ExecInput input;
  for (int i = 0; i < chunks; ++i) {
    input.set_stdin(std::string(kChunk, static_cast<char>('a' + i % 26)));
    auto written = co_await stream->Write(input);
    EXPECT_TRUE(written.has_value());
  }
  (void)co_await stream->CloseWrite();
}

Awaitable<void> BothDirections(Channel& channel, int chunks) {
  const auto executor = co_await asio::this_coro::executor;
  auto stream = co_await channel.Open<iv1::ExecInput, iv1::ExecOutput>("/t/Talk", Shape::kBidi);
  EXPECT_TRUE(stream.has_value());
  TaskScope sender(executor);
  sender.Spawn(SendAll(&*stream, chunks));
  for (int i = 0; i < chunks; ++i) {
    auto output = co_await stream->Next();
    const bool good = output && *output &&
                      (*output)->stdout() == std::string(kChunk, static_cast<char>('a' + i % 26));
    EXPECT_TRUE(good);
    if (!good) break;
  }
  auto end = co_await stream->Next();
  EXPECT_TRUE(end && !*end);
  co_await sender.Join();
}

TEST_F(StreamTest, ManyBytesInBothDirectionsAtOnce) {
  TestLink link(router_);
  link.Run(BothDirections(link.channel(), 400));  // 25 MiB each way, many windows' worth
}

Awaitable<void> SlowBesideFast(Channel& channel, Progress* progress) {
  constexpr int64_t kMuch = 64 << 20;
  auto slow = co_await channel.CallServerStream<iv1::FileChunk>("/t/Pour", Bytes(kMuch));
  EXPECT_TRUE(slow.has_value());
  // Nobody reads `slow`; other calls go on, one after the other and more than a connection's window
  // holds.
  for (int i = 0; i < 40; ++i) {
    auto chunk = co_await channel.Call<iv1::FileChunk>("/t/Get", Bytes(1 << 20));
    EXPECT_TRUE(chunk.has_value());
  }
  EXPECT_TRUE(progress->pouring);
  EXPECT_LT(progress->poured, 2 << 20);  // the window and the queue, not more
  for (int64_t got = 0; got < kMuch; got += kChunk) {
    auto chunk = co_await slow->Next();
    EXPECT_TRUE(chunk && *chunk);
    if (!chunk || !*chunk) break;
  }
  auto end = co_await slow->Next();
  EXPECT_TRUE(end && !*end);
}

TEST_F(StreamTest, AStreamThatNobodyReadsStallsNoOther) {
  TestLink link(router_);
  link.Run(SlowBesideFast(link.channel(), &progress_));
}

Awaitable<void> DropHalfWay(Channel& channel, Progress* progress) {
  auto stream =
      co_await channel.CallServerStream<iv1::FileChunk>("/t/Pour", Bytes(int64_t{1} << 40));
  auto chunk = co_await stream->Next();
  EXPECT_TRUE(chunk && *chunk);
  {
    auto dropped = std::move(*stream);
  }
  while (progress->pouring) (void)co_await SleepFor(std::chrono::milliseconds(1));
  EXPECT_EQ(progress->ended.error().code(), ErrorCode::kCanceled);
  auto after = co_await channel.Call<iv1::FileChunk>("/t/Get", Bytes(5));
  EXPECT_TRUE(after.has_value());
}

TEST_F(StreamTest, DroppingACallEndsItsHandlerAndNothingElse) {
  TestLink link(router_);
  link.Run(DropHalfWay(link.channel(), &progress_));
}

Awaitable<void> TooLarge(Channel& channel) {
  iv1::ReadFileRequest request;
  request.set_path(std::string(200'000, 'x'));
  auto unary = co_await channel.Call<iv1::FileChunk>("/t/Get", request);
  EXPECT_FALSE(unary.has_value());
  EXPECT_EQ(unary.error().code(), ErrorCode::kResourceExhausted);
  auto stream = co_await channel.CallServerStream<iv1::FileChunk>("/t/Pour", request);
  EXPECT_TRUE(stream.has_value());
  auto next = co_await stream->Next();
  EXPECT_FALSE(next.has_value());
  EXPECT_EQ(next.error().code(), ErrorCode::kResourceExhausted);
  auto response = co_await channel.Call<iv1::FileChunk>("/t/Get", Bytes(100'000));
  EXPECT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code(), ErrorCode::kResourceExhausted);
  auto good = co_await channel.Call<iv1::FileChunk>("/t/Get", Bytes(1000));
  EXPECT_TRUE(good.has_value());
}

TEST_F(StreamTest, MessageLimitsHoldInBothDirections) {
  ServerOptions options;
  options.max_message_bytes = 100'000;
  for (const Protocol protocol : {Protocol::kConnect, Protocol::kGrpc, Protocol::kGrpcWeb}) {
    ChannelOptions channel_options;
    channel_options.protocol = protocol;
    channel_options.max_message_bytes = 50'000;
    TestLink link(router_, options, channel_options);
    link.Run(TooLarge(link.channel()));
  }
}

Awaitable<void> FarTooLarge(Channel& channel) {
  iv1::ReadFileRequest request;
  request.set_path(std::string(8'000'000, 'x'));  // more than the windows and queues on its way
  const auto begin = std::chrono::steady_clock::now();
  auto unary = co_await channel.Call<iv1::FileChunk>("/t/Get", request);
  EXPECT_FALSE(unary.has_value());
  EXPECT_EQ(unary.error().code(), ErrorCode::kResourceExhausted);
  // The server gives two seconds to those who go on sending.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1500));
}

TEST_F(StreamTest, AClientTakesARefusalAtOnce) {
  ServerOptions options;
  options.max_message_bytes = 100'000;
  TestLink link(router_, options, {});
  link.Run(FarTooLarge(link.channel()));
}

Awaitable<void> OneIsLarger(Channel& channel) {
  iv1::ReadFileRequest request;
  request.set_path(std::string(200'000, 'x'));
  auto other = co_await channel.Call<iv1::FileChunk>("/t/Get", request);
  EXPECT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code(), ErrorCode::kResourceExhausted);
  auto large = co_await channel.Call<iv1::FileChunk>("/t/Large", request);
  EXPECT_TRUE(large.has_value());
  request.set_path(std::string(300'000, 'x'));
  auto beyond = co_await channel.Call<iv1::FileChunk>("/t/Large", request);
  EXPECT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().code(), ErrorCode::kResourceExhausted);
}

TEST_F(StreamTest, AProcedureMayTakeLargerMessagesThanOthers) {
  router_.Unary<iv1::ReadFileRequest, iv1::FileChunk>(
      "/t/Large",
      [](CallContext&, iv1::ReadFileRequest request) { return Get(std::move(request)); });
  router_.SetMaxMessage("/t/Large", 250'000);
  ServerOptions options;
  options.max_message_bytes = 100'000;
  for (const Protocol protocol : {Protocol::kConnect, Protocol::kGrpc, Protocol::kGrpcWeb}) {
    ChannelOptions channel_options;
    channel_options.protocol = protocol;
    TestLink link(router_, options, channel_options);
    link.Run(OneIsLarger(link.channel()));
  }
}

Awaitable<void> CloseUnderneath(TestLink* link, Progress* progress) {
  Channel& channel = link->channel();
  auto stream =
      co_await channel.CallServerStream<iv1::FileChunk>("/t/Pour", Bytes(int64_t{1} << 40));
  auto chunk = co_await stream->Next();
  EXPECT_TRUE(chunk && *chunk);
  link->scope().Cancel();  // the server goes away
  while (chunk && *chunk) chunk = co_await stream->Next();
  EXPECT_FALSE(chunk.has_value());
  EXPECT_EQ(chunk.error().code(), ErrorCode::kUnavailable);
  EXPECT_FALSE(progress->pouring);
  EXPECT_FALSE(channel.alive());
  auto call = co_await channel.Call<iv1::FileChunk>("/t/Get", Bytes(1));
  EXPECT_EQ(call.error().code(), ErrorCode::kUnavailable);
}

TEST_F(StreamTest, CallsEndWithTheirConnection) {
  TestLink link(router_);
  link.Run(CloseUnderneath(&link, &progress_));
}

Awaitable<void> CloseChannelUnderneath(Channel* channel) { co_await channel->Close(); }

Awaitable<void> ReadUntilError(Channel& channel, ErrorCode* code) {
  auto stream =
      co_await channel.CallServerStream<iv1::FileChunk>("/t/Pour", Bytes(int64_t{1} << 40));
  Result<std::optional<iv1::FileChunk>> chunk = co_await stream->Next();
  const auto executor = co_await asio::this_coro::executor;
  TaskScope closer(executor);
  closer.Spawn(CloseChannelUnderneath(&channel));
  while (chunk) chunk = co_await stream->Next();
  *code = chunk.error().code();
  co_await closer.Join();
}

TEST_F(StreamTest, ClosingTheChannelFailsItsCalls) {
  TestLink link(router_);
  auto code = ErrorCode::kInternal;
  link.Run(ReadUntilError(link.channel(), &code));
  EXPECT_EQ(code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace cleanroom::rpc
