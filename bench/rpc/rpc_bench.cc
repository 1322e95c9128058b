// Latency of unary calls and throughput of streams over a unix socket pair. Client and server share one thread,
// so a figure is the work of both sides together.
#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "http/byte_stream.h"
#include "rpc/client.h"
#include "rpc/server.h"

namespace cleanroom::rpc {
namespace {

namespace iv1 = ::cleanroom::internal::v1;

constexpr size_t kChunk = 64U << 10;
constexpr int64_t kStreamBytes = 100 << 20;

Awaitable<Result<iv1::FileChunk>> Get(iv1::ReadFileRequest request) {
  iv1::FileChunk chunk;
  chunk.set_data(request.path());
  co_return chunk;
}

Awaitable<Result<void>> Pour(iv1::ReadFileRequest request, Writer<iv1::FileChunk>& out) {
  iv1::FileChunk chunk;
  chunk.set_data(std::string(kChunk, 'x'));
  for (int64_t sent = 0; sent < request.max_bytes(); sent += kChunk) {
    CR_CO_TRY(co_await out.Write(chunk));
  }
  co_return Result<void>();
}

class Pair {
 public:
  Pair() : tasks_(io_.get_executor()) {
    router_.Unary<iv1::ReadFileRequest, iv1::FileChunk>(
        "/b/Get", [](CallContext&, iv1::ReadFileRequest request) { return Get(std::move(request)); });
    router_.ServerStream<iv1::ReadFileRequest, iv1::FileChunk>(
        "/b/Pour", [](CallContext&, iv1::ReadFileRequest request, Writer<iv1::FileChunk>& out) {
          return Pour(std::move(request), out);
        });
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) std::abort();
    tasks_.Spawn(server_.Serve(http::AdoptSocket(io_.get_executor(), fds[0])));
    channel_ = Channel::Create(http::AdoptSocket(io_.get_executor(), fds[1]), {});
  }
  ~Pair() { Run(End()); }

  void Run(Awaitable<void> task) {
    bool done = false;
    asio::co_spawn(io_, std::move(task), [&done](const std::exception_ptr&) { done = true; });
    while (!done) io_.run_one();
  }
  Channel& channel() { return *channel_; }

 private:
  Awaitable<void> End() {
    co_await channel_->Close();
    co_await tasks_.Join();
  }

  asio::io_context io_;
  Router router_;
  Server server_{router_, {}, nullptr};
  TaskScope tasks_;
  std::unique_ptr<Channel> channel_;
};

Awaitable<void> CallOnce(Channel& channel, benchmark::State& state) {
  iv1::ReadFileRequest request;
  request.set_path("hello");
  auto response = co_await channel.Call<iv1::FileChunk>("/b/Get", std::move(request));
  if (!response) state.SkipWithError(response.error().ToString().c_str());
}

void BM_Unary(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) pair.Run(CallOnce(pair.channel(), state));
}
BENCHMARK(BM_Unary)->Unit(benchmark::kMicrosecond);

Awaitable<void> Drink(Channel& channel, benchmark::State& state) {
  iv1::ReadFileRequest request;
  request.set_max_bytes(kStreamBytes);
  auto stream = co_await channel.CallServerStream<iv1::FileChunk>("/b/Pour", std::move(request));
  while (true) {
    auto chunk = co_await stream->Next();
    if (!chunk) state.SkipWithError(chunk.error().ToString().c_str());
    if (!chunk || !*chunk) break;
  }
}

void BM_ServerStream(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) pair.Run(Drink(pair.channel(), state));
  state.SetBytesProcessed(state.iterations() * kStreamBytes);
}
BENCHMARK(BM_ServerStream)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cleanroom::rpc

BENCHMARK_MAIN();
