// cleanroom-warden: one per sandbox. Everything a guest sends is parsed here, in a process without
// credentials.
//
//   cleanroom-warden --sandbox-id ID --dir FOLDER [--read PATH]... [--write FILE]... [--user UID]
//                    [--handover FD] [--hold FD | --fork FD]
//   cleanroom-warden --check …the same…      (reports what it is confined to, see jail_check.h)
//
// (started by cleanroomd, with a listening socket as fd 3). Of the host's files it sees FOLDER, and
// its VMM the PATHs, the FILEs, and the distribution's programs. UID is whom it becomes when it is
// started as root. FD is a socket: to hand over files that the machine gets later, a listening socket, where forks of the machine will be asked for, or a
// connection to the VMM of a held machine, to be forked once.
//
// Before it does anything else it has the sandbox's network namespace made and gives up every
// privilege (confinement.h). Then it serves WardenService on the socket, and ends with its machine.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async.h"
#include "base/id.h"
#include "http/byte_stream.h"
#include "os/heap.h"
#include "os/unique_fd.h"
#include "rpc/server.h"
#include "rpc/service.h"
#include "telemetry/log.h"
#include "warden/confinement.h"
#include "warden/jail_check.h"
#include "warden/service.h"
#include "warden/supervisor.h"
#include "warden_link/jail_report.h"

namespace cleanroom::warden {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

using std::chrono::seconds;

constexpr int kListenFd = 3;
constexpr std::string_view kOomScore = "500";  // of -1000 to 1000
// A warden that nobody tells to launch ends: its control plane has died in between.
constexpr seconds kIdleLimit{30};
// How long watchers may take to read the final state.
constexpr seconds kFarewell{2};
// After a connection that could not be accepted.
constexpr std::chrono::milliseconds kAcceptPause{100};

// A daemon takes no advice from a warden, so what the host lacks stands in the message.
std::optional<Error> ForDaemon(std::optional<Error> error) {
  if (!error || error->remedy().empty()) return error;
  return Error(error->code(), fmt::format("{}; {}", error->message(), error->remedy()));
}

struct Arguments {
  std::string sandbox_id;
  ConfinementConfig confinement;
  int hold_fd = -1;
  int fork_fd = -1;
  int handover_fd = -1;
};

Result<uid_t> ParseUser(std::string_view text) {
  uid_t user = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), user);
  if (error != std::errc() || end != text.data() + text.size() || user == 0) {
    return Err(ErrorCode::kInvalidArgument, "--user takes the number of a user that is not root");
  }
  return user;
}

Result<Arguments> ParseArguments(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--sandbox-id") out.sandbox_id = argv[i + 1];
    if (name == "--dir") out.confinement.folder = argv[i + 1];
    if (name == "--read") out.confinement.readable.emplace_back(argv[i + 1]);
    if (name == "--write") out.confinement.writable.emplace_back(argv[i + 1]);
    if (name == "--user") {
      CR_TRY_ASSIGN(out.confinement.user, ParseUser(argv[i + 1]));
    }
    if (name == "--hold") {
      out.hold_fd = std::atoi(argv[i + 1]);
      out.confinement.hold = true;
    }
    if (name == "--handover") out.handover_fd = std::atoi(argv[i + 1]);
    if (name == "--fork") out.fork_fd = std::atoi(argv[i + 1]);
  }
  CR_TRY(CheckId(out.sandbox_id, "sandbox id"));
  if (out.confinement.folder.empty()) return Err(ErrorCode::kInvalidArgument, "--dir is missing");
  return out;
}

Awaitable<void> Accept(asio::local::stream_protocol::acceptor& acceptor, const rpc::Server& server,
                       TaskScope& connections) {
  while (true) {
    auto [error, socket] = co_await acceptor.async_accept(kAwait);
    const bool cancelled = co_await Cancelled();
    if (cancelled || error == asio::error::operation_aborted) co_return;
    if (error) {
      // Too many descriptors, say; whoever asks waits meanwhile.
      Log(LogLevel::kWarn, "cannot accept a connection", Field("error", error.message()));
      auto slept = co_await SleepFor(kAcceptPause);
      if (!slept) co_return;
      continue;
    }
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

Awaitable<void> Run(asio::io_context& io, Supervisor& supervisor, NetworkLog& network_log,
                    const rpc::Server& server) {
  asio::local::stream_protocol::acceptor acceptor(io, asio::local::stream_protocol(), kListenFd);
  TaskScope connections(io.get_executor());
  TaskScope life(io.get_executor());
  life.Spawn(Accept(acceptor, server, connections));
  life.Spawn(AbandonWhenIdle(supervisor));
  life.Spawn(network_log.Run());
  co_await supervisor.WaitEnded();
  life.Cancel();
  co_await life.Join();
  network_log.Close();

  // Watchers read the final state and hang up.
  life.Spawn(CancelAfter(kFarewell, connections));
  co_await connections.Join();
  life.Cancel();
  co_await life.Join();
  co_await supervisor.Close();
}

// A host that runs out of memory after all ends a sandbox, which says so in its record, and not the
// control plane or somebody else's work. The VMM inherits it.
void GoFirst() {
  const os::UniqueFd score(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (score) (void)!write(score.get(), kOomScore.data(), kOomScore.size());
}

int Fail(const Error& error) {
  std::fprintf(stderr, "cleanroom-warden: %s\n", error.ToString().c_str());
  return 1;
}

// Says on stdout what a warden started as this one would be confined to.
int CheckJail(int argc, char** argv) {
  // The folder's sandbox is nobody's.
  auto arguments = ParseArguments(argc - 1, argv + 1);
  if (!arguments) return Fail(arguments.error());
  const std::string report = warden_link::FormatJailReport(InspectJail(arguments->confinement));
  std::fputs(report.c_str(), stdout);
  return 0;
}

int Main(int argc, char** argv) {
  os::KeepHeapSmall();
  GoFirst();
  if (argc > 1 && std::string_view(argv[1]) == warden_link::kCheckFlag)
    return CheckJail(argc, argv);
  auto arguments = ParseArguments(argc, argv);
  if (!arguments) return Fail(arguments.error());
  // First, while there is one thread and nothing of a guest's has been read.
  auto confined = Confine(arguments->confinement);
  if (!confined) return Fail(confined.error());

  std::signal(SIGPIPE, SIG_IGN);
  // Stopping is asked for by RPC; a terminal's signals are not for us.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  asio::io_context io(1);
  SupervisorConfig config{.sandbox_id = arguments->sandbox_id,
                          .folder = arguments->confinement.folder,
                          .network = arguments->confinement.network,
                          .space = std::move(confined->network),
                          .space_took = confined->took,
                          .fork_listener = os::UniqueFd(arguments->hold_fd),
                          .fork_connection = os::UniqueFd(arguments->fork_fd),
                          .handover = os::UniqueFd(arguments->handover_fd),
                          // It still serves: Launch then says why.
                          .launch_error = ForDaemon(confined->problem())};
  NetworkLog network_log(io.get_executor(), config.folder);
  config.network_log = &network_log;
  Supervisor supervisor(io.get_executor(), std::move(config));
  WardenService service(supervisor, network_log);
  rpc::Router router;
  service.Register(router);
  const rpc::Server server(router, {}, nullptr);
  asio::co_spawn(io, Run(io, supervisor, network_log, server),
                 [](const std::exception_ptr& failure) {
                   if (failure) std::rethrow_exception(failure);
                 });
  io.run();
  return 0;
}

}  // namespace
}  // namespace cleanroom::warden

int main(int argc, char** argv) { return cleanroom::warden::Main(argc, argv); }
