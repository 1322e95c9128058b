// cleanroomd: the control plane. `cleanroomd serve [flags]`.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/paths.h"
#include "http/tls/tls_stream.h"
#include "os/heap.h"
#include "rpc/gzip/gzip.h"
#include "rpc/json/json_codec.h"
#include "server/app/control_plane.h"
#include "server/app/serve_command.h"
#include "server/app/serve_options.h"
#include "telemetry/log.h"

namespace cleanroom::server {
namespace {

using telemetry::Field;
using telemetry::Log;
using telemetry::LogLevel;

// For an orderly end; what takes longer is stuck, or a download that cannot be cut short.
constexpr std::chrono::seconds kStopLimit{60};

int Fail(const Error& error, std::string_view remedy = "") {
  const std::string text = DescribeServeError(error, remedy);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return 1;
}

Result<ServeOptions> Prepare(const ServeFlags& flags, const config::Config& config,
                             const config::Paths& paths) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Err(ErrorCode::kInternal, "cannot read /proc/self/exe: " + error.message());
  return MakeServeOptions(flags, config, paths, program.parent_path());
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
  Log(LogLevel::kInfo, "asked to stop", Field("signal", signal));
  plane.Stop();
  auto again = co_await WithDeadline(AwaitSignal(signals),
                                     std::chrono::steady_clock::now() + kStopLimit, "the end");
  if (again) EndNow("it was asked to stop once more");
  if (again.error().code() == ErrorCode::kDeadlineExceeded)
    EndNow("sandboxes or work in the background did not end within a minute");
}

int Serve(const ServeFlags& flags) {
  const auto paths = config::ResolvePaths(config::Environment::OfProcess());
  if (!paths) return Fail(paths.error());
  // A file that was named must be there; the usual one need not.
  const std::string file = flags.config.empty() ? paths->config_file : flags.config;
  const auto loaded = flags.config.empty() ? config::LoadOrDefault(file) : config::Load(file);
  if (!loaded) {
    return Fail(loaded.error(),
                loaded.error().code() == ErrorCode::kNotFound
                    ? fmt::format("Write one with: cleanroom config init --path {}", file)
                    : fmt::format("Correct it, then check it with: cleanroom config validate "
                                  "--path {}",
                                  file));
  }
  auto options = Prepare(flags, loaded->config, *paths);
  if (!options) return Fail(options.error());
  const auto level = telemetry::ParseLogLevel(flags.log_level);
  if (!level) return Fail(level.error());
  const bool json = options->log_format == config::LogFormat::kJson;
  telemetry::SetUpLog(*level, json ? telemetry::LogFormat::kJson : telemetry::LogFormat::kText);
  for (const std::string& key : WithoutEffect(loaded->config)) {
    Log(LogLevel::kWarn, "the config asks for what this build does not do", Field("key", key),
        Field("file", file));
  }
  // A peer that is gone shows as an error of the write.
  std::signal(SIGPIPE, SIG_IGN);

  asio::io_context io(1);
  options->control_plane.json = &rpc::JsonCodec();
  options->control_plane.compression = &rpc::Gzip();
  std::unique_ptr<http::TlsServer> tls;
  if (!options->tls.certificate.empty()) {
    auto created = http::TlsServer::Create(options->tls.certificate, options->tls.key);
    if (!created) {
      return Fail(created.error(),
                  fmt::format("Name certificate and key with --tls-cert and --tls-key, or put "
                              "server.pem and server.key into {}",
                              paths->tls_dir));
    }
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
  const auto command = ParseServeCommand(std::vector<std::string>(argv + 1, argv + argc));
  if (!command) return Fail(command.error());
  if (!command->help.empty()) {
    std::fwrite(command->help.data(), 1, command->help.size(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 1;
  }
  return Serve(command->flags);
}

}  // namespace
}  // namespace cleanroom::server

int main(int argc, char** argv) { return cleanroom::server::Main(argc, argv); }
