#include "doors/flow/pump.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "doors/testing/world.h"

namespace cleanroom::doors {
namespace {

// Two ends of a TCP connection over loopback, non-blocking.
std::pair<os::UniqueFd, os::UniqueFd> TcpPair() {
  const os::UniqueFd listener = ListenAt(At("127.0.0.1", 0));
  const net::SocketAddress address = net::ToSocketAddress(*net::LocalEndpoint(listener.get()));
  os::UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(client.get(), address.get(), address.size), 0);
  fcntl(client.get(), F_SETFL, O_NONBLOCK);
  os::UniqueFd server(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return {std::move(client), std::move(server)};
}

TEST(PipePoolTest, PipesShrinkWithUseUntilThereAreNone) {
  PipePool pool;
  std::vector<Pipe> pipes;
  for (;;) {
    Pipe pipe = pool.Take();
    if (!pipe.read.valid()) break;
    if (!pipes.empty()) {
      EXPECT_LE(pipe.capacity, pipes.back().capacity);
    }
    pipes.push_back(std::move(pipe));
    ASSERT_LE(pipes.size(), 2048U);
  }
  EXPECT_LE(pool.in_use_bytes(), PipePool::kBudget + PipePool::kSmallPipe);
  EXPECT_GE(pipes.size(), 64U);
  for (Pipe& pipe : pipes) pool.Return(std::move(pipe), 0);
  EXPECT_EQ(pool.in_use_bytes(), 0U);
  EXPECT_EQ(pool.spare(), PipePool::kSpare);
}

struct Flow {
  explicit Flow(asio::io_context& io)
      : in(TcpPair()),
        out(TcpPair()),
        source(io, std::move(in.first)),
        from(io.get_executor(), std::move(in.second)),
        to(io.get_executor(), std::move(out.first)),
        sink(io, std::move(out.second)),
        tasks(io.get_executor()) {}
  std::pair<os::UniqueFd, os::UniqueFd> in, out;
  Client source;
  Stream from, to;
  Client sink;
  Progress progress;
  std::optional<bool> ended;
  TaskScope tasks;
};

Awaitable<void> PumpFlow(Flow* flow, PipePool* pool) {
  auto pump = Pump(flow->from, flow->to, *pool, flow->progress);
  const bool ended = co_await std::move(pump);
  flow->ended = ended;
  flow->to.FinishWriting();
}

Awaitable<void> SendAll(Client* client, std::string bytes) {
  auto send = client->Send(std::move(bytes));
  (void)co_await std::move(send);
  client->stream().FinishWriting();
}

class PumpTest : public ::testing::TestWithParam<bool> {};

TEST_P(PumpTest, MovesEveryByteWithAndWithoutPipes) {
  asio::io_context io;
  PipePool pool;
  std::vector<Pipe> taken;
  const bool copies = GetParam();
  while (copies && pool.in_use_bytes() < PipePool::kBudget) {
    taken.push_back(pool.Take());
    ASSERT_TRUE(taken.back().read.valid());
  }
  const size_t before = pool.in_use_bytes();
  Flow flow(io);
  flow.tasks.Spawn(PumpFlow(&flow, &pool));
  std::string bytes;
  for (int i = 0; bytes.size() < 3'000'000; ++i) bytes += fmt::format("{} ", i);
  flow.tasks.Spawn(SendAll(&flow.source, bytes));
  const Seen seen = RunTask(io, flow.sink.Read());
  EXPECT_TRUE(seen.bytes == bytes) << seen.bytes.size();
  EXPECT_EQ(flow.ended, true);
  EXPECT_EQ(flow.progress.moved, bytes.size());
  EXPECT_EQ(pool.in_use_bytes(), before);
  while (flow.tasks.size() > 0) io.run_one();
}

INSTANTIATE_TEST_SUITE_P(Ways, PumpTest, ::testing::Bool());

TEST(PumpTest, AnIdleDirectionHoldsNoPipe) {
  asio::io_context io;
  PipePool pool;
  Flow flow(io);
  flow.tasks.Spawn(PumpFlow(&flow, &pool));
  RunTask(io, flow.source.Send("x"));
  EXPECT_EQ(RunTask(io, flow.sink.Read(1)).bytes, "x");
  while (io.poll() > 0) {
  }
  EXPECT_EQ(pool.in_use_bytes(), 0U);
  flow.from.Close();
  while (flow.tasks.size() > 0) io.run_one();
  EXPECT_EQ(flow.ended, false);
}

}  // namespace
}  // namespace cleanroom::doors
