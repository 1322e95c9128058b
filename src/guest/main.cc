// cleanroom-guest: PID 1 of the sandbox's virtual machine.
//
// Loads the drivers, opens the serial port that leads to the warden and serves it for as long as
// the machine lives. Says nothing unless something is wrong; then it says so on the console and
// ends the machine, so that the host sees its VMM exit.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <string>

#include "guest/exec/reaper.h"
#include "guest/machine/devices.h"
#include "guest/machine/machine.h"
#include "guest/machine/mounts.h"
#include "guest/serve/prime.h"
#include "guest/serve/service.h"
#include "guest_link/devices.h"
#include "guest_link/lines.h"
#include "http/byte_stream.h"
#include "os/file.h"
#include "rpc/server.h"

namespace cleanroom::guest {
namespace {

constexpr std::chrono::seconds kPortTimeout(30);
constexpr size_t kMaxCommandLine = 4096;
// How long the answer to Shutdown has to get out, if the host does not hang up.
constexpr std::chrono::milliseconds kFarewell(200);

void Complain(std::string_view what) {
  const std::string line = fmt::format("cleanroom-guest: {}\n", what);
  (void)!write(STDERR_FILENO, line.data(), line.size());
}

// A reset, which every VMM we start takes as the end; power-off needs ACPI, which some lack.
[[noreturn]] void EndMachine() {
  sync();
  reboot(RB_AUTOBOOT);
  // Only when not PID 1.
  _exit(1);
}

[[noreturn]] void Die(const Error& error) {
  Complain(error.ToString());
  EndMachine();
}

// Descriptors 0 to 2 must be taken before anything else is opened, and an initramfs need not have
// had a /dev/console for the kernel to give us.
void TakeConsole() {
  const int null_fd = open("/dev/null", O_RDWR);
  const int console = open("/dev/console", O_WRONLY | O_NOCTTY);
  if (null_fd >= 0) dup2(null_fd, 0);
  if (console >= 0) {
    dup2(console, 1);
    dup2(console, 2);
  }
  if (null_fd > 2) close(null_fd);
  if (console > 2) close(console);
}

// The out-of-memory killer spares PID 1 by itself.
void ProtectSelf() {
  signal(SIGPIPE, SIG_IGN);
  // However many processes want to run, whoever is to end them does.
  (void)setpriority(PRIO_PROCESS, 0, -20);
  // Also what commands start with. An execution takes seven descriptors of the agent's.
  const rlimit files = {1024, 524288};
  (void)setrlimit(RLIMIT_NOFILE, &files);
}

Result<os::UniqueFd> OpenPort(const std::string& name) {
  return os::Open("/dev/" + name, O_RDWR | O_NONBLOCK);
}

// The port hangs up for as long as nobody on the host has it open. That state is a level to
// epoll(7), of which only the changes are of interest; the edge-triggered epoll set in between
// gives those to Asio.
Awaitable<Result<void>> WaitForHost(int port) {
  const auto executor = co_await asio::this_coro::executor;
  const int set = epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) co_return ErrErrno(ErrorCode::kInternal, "epoll_create1");
  asio::posix::stream_descriptor changes(executor, set);
  epoll_event wanted = {};
  wanted.events = EPOLLIN | EPOLLOUT | EPOLLET;
  if (epoll_ctl(set, EPOLL_CTL_ADD, port, &wanted) != 0) {
    co_return ErrErrno(ErrorCode::kInternal, "watch the serial port");
  }
  for (;;) {
    epoll_event seen;
    while (epoll_wait(set, &seen, 1, 0) > 0) {
    }
    pollfd state{port, POLLOUT, 0};
    if (poll(&state, 1, 0) >= 0 && (state.revents & POLLHUP) == 0) co_return Result<void>();
    auto [error] = co_await changes.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (error) co_return Err(ErrorCode::kCanceled, "cancelled while waiting for the host");
  }
}

void Say(std::string_view text) {
  const std::string line = fmt::format("{}\n", text);
  (void)!write(STDERR_FILENO, line.data(), line.size());
}

// One connection after the other: closing the port throws away what is left of the old one.
Awaitable<void> ServePort(const rpc::Server& server, const GuestService& service,
                          std::string port_name) {
  for (bool first = true;; first = false) {
    auto port = OpenPort(port_name);
    if (!port) Die(std::move(port).error());
    auto connected = co_await WaitForHost(port->get());
    if (!connected) Die(std::move(connected).error());
    if (!first) Say(guest_link::kWaitingLine);
    const auto executor = co_await asio::this_coro::executor;
    auto stream = http::AdoptDescriptor(executor, port->release());
    co_await server.Serve(std::move(stream));
    if (service.ended()) EndMachine();
  }
}

Awaitable<void> EndAfterShutdown(GuestService& service) {
  while (!service.ended()) co_await service.end().Wait();
  (void)co_await SleepFor(kFarewell);
  EndMachine();
}

// The machine that says this is saved at once: nothing of it may be under way, and its disk is what
// its copies start from.
Awaitable<void> PrimeAndSay(const rpc::Server& server, internal::v1::PrepareRequest prepared) {
  co_await Prime(server, std::move(prepared));
  sync();
  Say(guest_link::kPrimedLine);
}

Result<void> Run() {
  CR_TRY(MountOwnFilesystems());
  TakeConsole();
  ProtectSelf();
  CR_TRY_ASSIGN(DeviceEvents events, DeviceEvents::Create());
  CR_TRY(LoadModules("/modules.list"));
  CR_TRY_ASSIGN(
      const std::string port,
      events.WaitFor([] { return FindSerialPort("/sys", guest_link::kAgentPort); }, kPortTimeout));
  CR_TRY_ASSIGN(const std::string command_line, os::ReadFile("/proc/cmdline", kMaxCommandLine));
  CR_TRY_ASSIGN(const auto prepare, ReadPrepareOption(command_line));

  asio::io_context context(1);
  GuestMachine machine;
  CR_TRY_ASSIGN(const auto reaper, Reaper::Create(context.get_executor()));
  GuestService service(
      context.get_executor(), machine, *reaper,
      {.ptmx_path = kTerminalMultiplexer, .cgroup_path = kCgroups, .version = CLEANROOM_VERSION});
  rpc::Router router;
  service.Register(router);
  if (prepare) {
    CR_TRY_ASSIGN(Root root, machine.Prepare(*prepare));
    service.UsePrepared(std::move(root));
  }
  rpc::ServerOptions options;
  options.head_timeout = std::chrono::seconds(0);  // a paused machine is not a slow client
  // Half of what the port's queue holds (128 pages): as long as it is not full, the driver need not
  // tell the VMM of every page it has emptied.
  options.stream_window = 256U << 10;
  const rpc::Server server(router, options, nullptr);
  TaskScope tasks(context.get_executor());
  tasks.Spawn(reaper->Run());
  tasks.Spawn(EndAfterShutdown(service));
  tasks.Spawn(ServePort(server, service, port));
  if (prepare) tasks.Spawn(PrimeAndSay(server, *prepare));
  context.run();
  return Err(ErrorCode::kInternal, "the agent has nothing left to do");
}

}  // namespace
}  // namespace cleanroom::guest

int main() {
  if (getpid() != 1) {
    cleanroom::guest::Complain("runs only as the first process of a virtual machine");
    return 1;
  }
  const auto ended = cleanroom::guest::Run();
  cleanroom::guest::Die(ended.error());
}
