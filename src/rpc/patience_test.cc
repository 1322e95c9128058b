// A channel's patience with a peer that gives no sign of life (ChannelOptions::patience).
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>

#include "cleanroom/v1/error.pb.h"
#include "rpc/testing/link.h"

namespace cleanroom::rpc {
namespace {

using std::chrono::milliseconds;
using Ping = v1::ErrorDetail;  // any message

Awaitable<Result<Ping>> Slow() {
  auto slept = co_await SleepFor(milliseconds(300));
  if (!slept) co_return Err(std::move(slept).error());
  co_return Ping();
}

Awaitable<void> CallInto(Channel& channel, Result<Ping>* out) {
  auto answer = co_await channel.Call<Ping>("/test/Slow", Ping());
  *out = std::move(answer);
}

TEST(PatienceTest, ASlowPeerThatAnswersPingsIsWaitedFor) {
  Router router;
  router.Unary<Ping, Ping>("/test/Slow", [](CallContext&, Ping) { return Slow(); });
  ChannelOptions options;
  options.patience = milliseconds(80);
  TestLink link(router, {}, options);
  Result<Ping> answer = Err(ErrorCode::kInternal, "not called");
  link.Run(CallInto(link.channel(), &answer));
  EXPECT_TRUE(answer.has_value()) << answer.error().ToString();
}

TEST(PatienceTest, ASilentPeerIsGivenUpAndNamed) {
  asio::io_context io(1);
  auto [near, far] = StreamPair(io);  // nobody reads at the far end
  ChannelOptions options;
  options.patience = milliseconds(80);
  const auto channel = Channel::Create(std::move(near), std::move(options));
  TaskScope scope(io.get_executor());
  Result<Ping> answer = Ping();
  scope.Spawn(CallInto(*channel, &answer));
  while (scope.size() > 0) io.run_one();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(answer.error().message(), "the peer has not answered for 0.08 s");
  scope.Spawn(channel->Close());
  while (scope.size() > 0) io.run_one();
}

}  // namespace
}  // namespace cleanroom::rpc
