// Serves the echo service on a TCP port of its choice, with compressed answers, and on a unix
// socket, without, until SIGTERM. Says where on stdout: "ready <port>". usage: rpc_echo_server
// SOCKET
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <string>
#include <utility>

#include "base/async.h"
#include "echo.rpc.h"
#include "http/byte_stream.h"
#include "rpc/gzip/gzip.h"
#include "rpc/json/json_codec.h"
#include "rpc/server.h"

namespace cleanroom {
namespace {

namespace echo = ::cleanroom::test::echo::v1;

class EchoService final : public echo::EchoService {
  Awaitable<Result<echo::EchoResponse>> Echo(rpc::CallContext& call,
                                             echo::EchoRequest request) override {
    call.response_headers.emplace_back("x-echo", "yes");
    echo::EchoResponse response;
    response.set_text(request.text());
    response.set_data(request.data());
    co_return response;
  }

  Awaitable<Result<echo::EchoResponse>> Fail(rpc::CallContext&,
                                             echo::FailRequest request) override {
    co_return Err(ErrorCodeFromString(request.code()), request.message());
  }

  Awaitable<Result<echo::EchoResponse>> Hang(rpc::CallContext&, echo::EchoRequest) override {
    (void)co_await SleepFor(std::chrono::hours(1));
    co_return Err(ErrorCode::kCanceled, "stopped");
  }

  Awaitable<Result<void>> Count(rpc::CallContext&, echo::CountRequest request,
                                rpc::Writer<echo::EchoResponse>& out) override {
    for (int64_t i = 1; i <= request.count(); ++i) {
      echo::EchoResponse response;
      response.set_number(i);
      CR_CO_TRY(co_await out.Write(response));
    }
    if (!request.fail_code().empty())
      co_return Err(ErrorCodeFromString(request.fail_code()), "after the last");
    co_return Result<void>();
  }

  Awaitable<Result<echo::SumResponse>> Sum(rpc::CallContext&,
                                           rpc::Reader<echo::EchoRequest>& in) override {
    echo::SumResponse sum;
    while (true) {
      CR_CO_TRY_ASSIGN(const auto request, co_await in.Next());
      if (!request) break;
      sum.set_messages(sum.messages() + 1);
      sum.set_bytes(sum.bytes() +
                    static_cast<int64_t>(request->text().size() + request->data().size()));
    }
    co_return sum;
  }

  Awaitable<Result<void>> Talk(rpc::CallContext&, rpc::Reader<echo::EchoRequest>& in,
                               rpc::Writer<echo::EchoResponse>& out) override {
    while (true) {
      CR_CO_TRY_ASSIGN(const auto request, co_await in.Next());
      if (!request) break;
      echo::EchoResponse response;
      response.set_text(request->text());
      response.set_data(request->data());
      CR_CO_TRY(co_await out.Write(response));
    }
    co_return Result<void>();
  }
};

template <typename Acceptor>
Awaitable<void> Accept(Acceptor* acceptor, const rpc::Server* server, TaskScope* connections) {
  while (acceptor->is_open()) {
    auto [error, socket] = co_await acceptor->async_accept(kAwait);
    if (error) co_return;
    connections->Spawn(
        server->Serve(http::AdoptSocket(acceptor->get_executor(), socket.release())));
  }
}

Awaitable<void> StopOnSignal(TaskScope* connections) {
  asio::signal_set signals(connections->executor(), SIGTERM, SIGINT);
  (void)co_await signals.async_wait(kAwait);
  connections->Cancel();
}

int Main(const std::string& path) {
  asio::io_context io;
  EchoService service;
  rpc::Router router;
  service.Register(router);
  const rpc::Server local_server(router, {}, &rpc::JsonCodec(), &rpc::Gzip());
  rpc::ServerOptions remote;
  remote.compress_from = 1024;
  const rpc::Server server(router, remote, &rpc::JsonCodec(), &rpc::Gzip());
  TaskScope tasks(io.get_executor());
  asio::ip::tcp::acceptor tcp(io, {asio::ip::address_v4::loopback(), 0});
  asio::local::stream_protocol::acceptor local(io, path);
  tasks.Spawn(Accept(&tcp, &server, &tasks));
  tasks.Spawn(Accept(&local, &local_server, &tasks));
  tasks.Spawn(StopOnSignal(&tasks));
  fmt::print("ready {}\n", tcp.local_endpoint().port());
  std::fflush(stdout);
  io.run();
  return 0;
}

}  // namespace
}  // namespace cleanroom

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: rpc_echo_server SOCKET\n");
    return 2;
  }
  return cleanroom::Main(argv[1]);
}
