// cleanroom-warden: one per sandbox. Everything a guest sends is parsed here, in a process without credentials.
//
//   cleanroom-warden --sandbox-id ID --dir FOLDER      (started by cleanroomd, with a listening socket as fd 3)
//
// It enters its own user and network namespace before it does anything else, serves WardenService on the socket,
// and ends with its machine.
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/async.h"
#include "base/id.h"
#include "http/byte_stream.h"
#include "os/netns.h"
#include "rpc/server.h"
#include "rpc/service.h"
#include "sandbox/service.h"
#include "sandbox/supervisor.h"

namespace cleanroom::sandbox {
namespace {

using std::chrono::seconds;

constexpr int kListenFd = 3;
// A warden that nobody tells to launch ends: its control plane has died in between.
constexpr seconds kIdleLimit{30};
// How long watchers may take to read the final state.
constexpr seconds kFarewell{2};

struct Arguments {
  std::string sandbox_id;
  std::string folder;
};

Result<Arguments> ParseArguments(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--sandbox-id") out.sandbox_id = argv[i + 1];
    if (name == "--dir") out.folder = argv[i + 1];
  }
  CR_TRY(CheckId(out.sandbox_id, "sandbox id"));
  if (out.folder.empty()) return Err(ErrorCode::kInvalidArgument, "--dir is missing");
  return out;
}

Awaitable<void> Accept(asio::local::stream_protocol::acceptor& acceptor, const rpc::Server& server, TaskScope& connections) {
  while (true) {
    auto [error, socket] = co_await acceptor.async_accept(kAwait);
    if (error) co_return;
    connections.Spawn(server.Serve(http::AdoptSocket(acceptor.get_executor(), socket.release())));
  }
}

Awaitable<void> AbandonWhenIdle(Supervisor& supervisor) {
  auto slept = co_await SleepFor(kIdleLimit);
  if (slept && supervisor.idle()) supervisor.Abandon("nobody launched the sandbox");
}

Awaitable<void> CancelAfter(seconds limit, TaskScope& scope) {
  auto slept = co_await SleepFor(limit);
  if (slept) scope.Cancel();
}

Awaitable<void> Run(asio::io_context& io, Supervisor& supervisor, const rpc::Server& server) {
  asio::local::stream_protocol::acceptor acceptor(io, asio::local::stream_protocol(), kListenFd);
  TaskScope connections(io.get_executor());
  TaskScope life(io.get_executor());
  life.Spawn(Accept(acceptor, server, connections));
  life.Spawn(AbandonWhenIdle(supervisor));
  co_await supervisor.WaitEnded();
  life.Cancel();
  co_await life.Join();

  // Watchers read the final state and hang up.
  life.Spawn(CancelAfter(kFarewell, connections));
  co_await connections.Join();
  life.Cancel();
  co_await life.Join();
  co_await supervisor.Close();
}

int Main(int argc, char** argv) {
  auto arguments = ParseArguments(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "cleanroom-warden: %s\n", arguments.error().ToString().c_str());
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  return 0;
}

}  // namespace
}  // namespace cleanroom::sandbox

int main(int argc, char** argv) { return cleanroom::sandbox::Main(argc, argv); }
