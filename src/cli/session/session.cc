#include "cli/session/session.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <csignal>
#include <optional>

#include "client/connect.h"
#include "client/environment.h"
#include "os/file.h"

namespace cleanroom::cli {
namespace {

Awaitable<void> Capture(Awaitable<Result<int>> task, std::optional<Result<int>>* out) {
  auto result = co_await std::move(task);
  out->emplace(std::move(result));
}

using Body = std::function<Awaitable<Result<int>>(client::Api&)>;

Awaitable<Result<int>> Converse(client::ConnectOptions options, const Body& body) {
  auto channel = co_await client::Connect(std::move(options));
  if (!channel) co_return Err(std::move(channel).error());
  client::Api api(**channel);
  auto result = co_await body(api);
  co_await (*channel)->Close();
  co_return result;
}

}  // namespace

Result<client::ConnectOptions> ConnectOptionsFor(const ClientFlags& flags) {
  return client::OptionsFromEnvironment(
      {.url = flags.host, .tls_ca = flags.tls_ca, .auth_token = flags.auth_token});
}

Result<int> RunLoop(Awaitable<Result<int>> task) {
  asio::io_context io(1);
  std::optional<Result<int>> out;
  TaskScope scope(io.get_executor());
  scope.Spawn(Capture(std::move(task), &out));
  io.run();
  return std::move(*out);
}

int RunConnected(const Invocation& invocation, const Body& body) {
  auto options = ConnectOptionsFor(invocation.client);
  if (!options) return Fail(invocation, options.error());
  const auto code = RunLoop(Converse(std::move(*options), body));
  return code ? *code : Fail(invocation, code.error());
}

ProgressStyle ChooseProgress(const Invocation& invocation, Quiet quiet) {
  if (quiet == Quiet::kYes || invocation.client.log_level == LogLevel::kError)
    return ProgressStyle::kNone;
  if (isatty(STDERR_FILENO) == 1) return ProgressStyle::kSpinner;
  return invocation.client.log_level >= LogLevel::kInfo ? ProgressStyle::kLines
                                                        : ProgressStyle::kNone;
}

int PrintAnswer(std::string_view text) {
  const auto written = os::WriteAll(STDOUT_FILENO, text, "standard output");
  if (written) return 0;
  if (written.error().errno_value() == EPIPE) return 128 + SIGPIPE;
  return Fail(
      Error(written.error()).Remedy("Send the output elsewhere, or make room where it goes"));
}

}  // namespace cleanroom::cli
