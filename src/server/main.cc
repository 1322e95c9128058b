// cleanroomd: the control plane. `cleanroomd serve [flags]`.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "config/config.h"
#include "config/paths.h"
#include "http/tls/tls_stream.h"
#include "os/heap.h"
#include "rpc/gzip/gzip.h"
#include "rpc/json/json_codec.h"
#include "server/control_plane.h"
#include "server/log.h"
#include "server/serve_options.h"

namespace cleanroom::server {
namespace {

// For an orderly end; what takes longer is stuck, or a download that cannot be cut short.
constexpr std::chrono::seconds kStopLimit{60};

int Fail(const Error& error) {
  std::fprintf(stderr, "cleanroom: %s\n", error.ToString().c_str());
  return 1;
}

Result<ServeOptions> Prepare(const ServeFlags& flags) {
  CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
  // A file that was named must be there; the usual one need not.
  auto loaded =
      flags.config.empty() ? config::LoadOrDefault(paths.config_file) : config::Load(flags.config);
  if (!loaded) return Err(std::move(loaded).error());
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Err(ErrorCode::kInternal, "cannot read /proc/self/exe: " + error.message());
  return MakeServeOptions(flags, loaded->config, paths, program.parent_path());
}

void SayReady(const std::vector<config::Endpoint>& endpoints) {
  std::string line = "cleanroom: listening on";
  for (const config::Endpoint& endpoint : endpoints) line += " " + endpoint.ToString();
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

Awaitable<Result<int>> AwaitSignal(asio::signal_set& signals) {
  auto [error, signal] = co_await signals.async_wait(kAwait);
  if (error) co_return Err(ErrorCode::kCanceled, "the daemon has ended");
  co_return signal;
}

Awaitable<void> RunPlane(ControlPlane& plane, asio::signal_set& signals,
                         std::optional<Error>& failure) {
  auto outcome = co_await plane.Run(SayReady);
  if (!outcome) failure = std::move(outcome).error();
  signals.cancel();
}

// Whatever stands in the way of the end goes with the process; the next start cleans up.
[[noreturn]] void EndNow(const char* why) {
  std::fprintf(stderr, "cleanroom: ended at once: %s\n", why);
  std::fflush(stderr);
  _exit(1);
}

// The first signal asks for an orderly end, the second, or too long a wait, for one at once.
Awaitable<void> AwaitSignals(ControlPlane& plane, asio::signal_set& signals) {
  auto [error, signal] = co_await signals.async_wait(kAwait);
  if (error) co_return;
  spdlog::info("asked to stop signal={}", signal);
  plane.Stop();
  auto again = co_await WithDeadline(AwaitSignal(signals),
                                     std::chrono::steady_clock::now() + kStopLimit, "the end");
  if (again) EndNow("it was asked to stop once more");
  if (again.error().code() == ErrorCode::kDeadlineExceeded)
    EndNow("sandboxes or work in the background did not end within a minute");
}

int Serve(const ServeFlags& flags) {
  auto options = Prepare(flags);
  if (!options) return Fail(options.error());
  SetUpLog(flags.log_level, options->log_format);
  // A peer that is gone shows as an error of the write.
  std::signal(SIGPIPE, SIG_IGN);

  asio::io_context io(1);
  options->control_plane.json = &rpc::JsonCodec();
  options->control_plane.compression = &rpc::Gzip();
  std::unique_ptr<http::TlsServer> tls;
  if (!options->tls.certificate.empty()) {
    auto created = http::TlsServer::Create(options->tls.certificate, options->tls.key);
    if (!created) return Fail(created.error());
    tls = std::move(*created);
    options->control_plane.tls = [&io, &tls](int fd) { return tls->Accept(io.get_executor(), fd); };
  }
  auto plane = ControlPlane::Create(io.get_executor(), std::move(options->control_plane));
  if (!plane) return Fail(plane.error());

  asio::signal_set signals(io, SIGTERM, SIGINT, SIGHUP);
  std::optional<Error> failure;
  TaskScope main_task(io.get_executor());
  // First: the other ends it, which may be soon.
  main_task.Spawn(AwaitSignals(**plane, signals));
  main_task.Spawn(RunPlane(**plane, signals, failure));
  io.run();
  if (failure) return Fail(*failure);
  return 0;
}

int Main(int argc, char** argv) {
  os::KeepHeapSmall();
  CLI::App app("Cleanroom's control plane.");
  app.require_subcommand(1);
  ServeFlags flags;
  CLI::App* serve =
      app.add_subcommand("serve", "serve the API and run sandboxes until SIGTERM or SIGINT");
  serve->add_option(
      "--listen", flags.listen,
      "unix:///PATH, http://HOST:PORT or https://HOST:PORT; may be repeated or take several");
  serve->add_option("--config", flags.config, "the config file");
  serve->add_option("--state-dir", flags.state_dir, "records and sandboxes");
  serve->add_option("--cache-dir", flags.cache_dir, "images and kernels");
  serve->add_option("--runtime-dir", flags.runtime_dir, "where the default socket is made");
  serve->add_option("--tls-cert", flags.tls_cert, "certificate chain (PEM) for https listeners");
  serve->add_option("--tls-key", flags.tls_key, "its key (PEM)");
  serve->add_option("--gateway-listen", flags.gateway_listen, "refused: this build has no gateway");
  serve
      ->add_option("--guest-silence", flags.guest_silence_seconds,
                   "seconds without an answer after which a guest that runs a command is given up "
                   "(120)")
      ->check(CLI::Range(int64_t{1}, int64_t{86'400}));
  serve->add_option("--log-level", flags.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
  CLI11_PARSE(app, argc, argv);
  return Serve(flags);
}

}  // namespace
}  // namespace cleanroom::server

int main(int argc, char** argv) { return cleanroom::server::Main(argc, argv); }
