// cleanroom-warden: one per sandbox. Everything a guest sends is parsed here, in a process without
// credentials.
//
//   cleanroom-warden --sandbox-id ID --dir FOLDER [--read PATH]... [--hold FD | --fork FD]
//
// (started by cleanroomd, with a listening socket as fd 3). FD is a listening socket, where forks
// of the machine will be asked for, or a connection to the VMM of a held machine, to be forked
// once. Of the host's files it sees FOLDER, the
// PATHs read-only, and the distribution's programs.
//
// Before it does anything else it enters its own user namespace, has the sandbox's network
// namespace made, and gives up every privilege. Then it serves WardenService on the socket, and
// ends with its machine.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async.h"
#include "base/id.h"
#include "http/byte_stream.h"
#include "os/heap.h"
#include "os/jail/private_root.h"
#include "os/netns/netns.h"
#include "os/seccomp/filter.h"
#include "os/unique_fd.h"
#include "rpc/server.h"
#include "rpc/service.h"
#include "sandbox/service.h"
#include "sandbox/supervisor.h"

namespace cleanroom::sandbox {
namespace {

using std::chrono::seconds;

constexpr int kListenFd = 3;
constexpr rlim_t kDescriptors = 8192;
constexpr std::string_view kOomScore = "500";  // of -1000 to 1000
// A warden that nobody tells to launch ends: its control plane has died in between.
constexpr seconds kIdleLimit{30};
// How long watchers may take to read the final state.
constexpr seconds kFarewell{2};

struct Arguments {
  std::string sandbox_id;
  std::string folder;
  std::vector<std::string> readable;
  int hold_fd = -1;
  int fork_fd = -1;
};

Result<Arguments> ParseArguments(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--sandbox-id") out.sandbox_id = argv[i + 1];
    if (name == "--dir") out.folder = argv[i + 1];
    if (name == "--read") out.readable.emplace_back(argv[i + 1]);
    if (name == "--hold") out.hold_fd = std::atoi(argv[i + 1]);
    if (name == "--fork") out.fork_fd = std::atoi(argv[i + 1]);
  }
  CR_TRY(CheckId(out.sandbox_id, "sandbox id"));
  if (out.folder.empty()) return Err(ErrorCode::kInvalidArgument, "--dir is missing");
  return out;
}

Awaitable<void> Accept(asio::local::stream_protocol::acceptor& acceptor, const rpc::Server& server,
                       TaskScope& connections) {
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

// A connection of the guest takes two descriptors, its pipes and flows some more.
void RaiseDescriptorLimit() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = std::min(files.rlim_max, std::max(files.rlim_cur, kDescriptors));
  (void)setrlimit(RLIMIT_NOFILE, &files);
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

// Leaves the host's file system behind.
Result<void> Enclose(const Arguments& arguments) {
  os::PrivateRootConfig root = os::ProgramsOnly();
  root.writable.push_back(arguments.folder);
  root.read_only.insert(root.read_only.end(), arguments.readable.begin(), arguments.readable.end());
  root.devices.emplace_back("/dev/kvm");
  return os::EnterPrivateRoot(root);
}

int Main(int argc, char** argv) {
  os::KeepHeapSmall();
  GoFirst();
  auto arguments = ParseArguments(argc, argv);
  if (!arguments) return Fail(arguments.error());
  // First, while there is one thread and nothing of a guest's has been read. The network and the
  // files are seen to side by side.
  os::NetNsConfig network;
  auto set_up = os::NetNsSetUp::Begin(network);
  Result<void> enclosed = set_up ? Enclose(*arguments) : std::unexpected(set_up.error());
  // A warden that cannot have its namespaces still serves: Launch then says why.
  Result<void> jailed = os::DropPrivileges();
  if (jailed) jailed = os::DenyUnneededSyscalls();
  if (!jailed) return Fail(jailed.error());
  Result<os::NetNs> space = enclosed ? set_up->Finish() : std::unexpected(enclosed.error());

  RaiseDescriptorLimit();
  std::signal(SIGPIPE, SIG_IGN);
  // Stopping is asked for by RPC; a terminal's signals are not for us.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  asio::io_context io(1);
  SupervisorConfig config{.sandbox_id = arguments->sandbox_id,
                          .folder = arguments->folder,
                          .network = network,
                          .space = {},
                          .fork_listener = os::UniqueFd(arguments->hold_fd),
                          .fork_connection = os::UniqueFd(arguments->fork_fd),
                          .launch_error = {}};
  if (space) {
    config.space = *std::move(space);
  } else {
    config.launch_error = space.error();
  }
  NetworkLog network_log(io.get_executor(), config.folder);
  config.network_log = &network_log;
  Supervisor supervisor(io.get_executor(), std::move(config));
  rpc::Router router;
  RegisterWardenService(supervisor, network_log, router);
  const rpc::Server server(router, {}, nullptr);
  asio::co_spawn(io, Run(io, supervisor, network_log, server),
                 [](const std::exception_ptr& failure) {
                   if (failure) std::rethrow_exception(failure);
                 });
  io.run();
  return 0;
}

}  // namespace
}  // namespace cleanroom::sandbox

int main(int argc, char** argv) { return cleanroom::sandbox::Main(argc, argv); }
