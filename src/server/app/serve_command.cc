#include "server/app/serve_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <string_view>

#include "config/serve_flags.h"

namespace cleanroom::server {
namespace {

constexpr int64_t kMaxGuestSilence = 86'400;

Result<void> CheckValues(const ServeFlags& flags, const std::string& guest_silence,
                         int64_t& seconds) {
  constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warn", "error"};
  if (std::find(std::begin(kLevels), std::end(kLevels), flags.log_level) == std::end(kLevels)) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("--log-level: '{}' is no level; write error, warn, info, debug or trace",
                           flags.log_level.substr(0, 64)));
  }
  if (guest_silence.empty()) return {};
  const char* const end = guest_silence.data() + guest_silence.size();
  const auto [stop, error] = std::from_chars(guest_silence.data(), end, seconds);
  if (error != std::errc() || stop != end || seconds < 1 || seconds > kMaxGuestSilence) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("--guest-silence: '{}' is no number of seconds from 1 to {}",
                           guest_silence.substr(0, 64), kMaxGuestSilence));
  }
  return {};
}

std::string_view RemedyFor(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kFailedPrecondition:
      return "See which daemon answers with: cleanroom doctor";
    case ErrorCode::kPermissionDenied:
      return "Run it as a user who may do that, or choose another place; see: cleanroom serve "
             "--help";
    case ErrorCode::kResourceExhausted:
      return "Make room where its folders lie, or choose others; see: cleanroom serve --help";
    default:
      return "See how it is used with: cleanroom serve --help";
  }
}

}  // namespace

Result<ServeCommand> ParseServeCommand(std::vector<std::string> args) {
  if (args.empty() || args.front() != "serve") {
    return Err(ErrorCode::kInvalidArgument,
               "cleanroomd has one command: cleanroomd serve, which `cleanroom serve` runs");
  }
  ServeCommand out;
  ServeFlags& flags = out.flags;
  std::string guest_silence;
  const std::pair<std::string_view, std::string*> values[] = {
      {"--config", &flags.config},         {"--state-dir", &flags.state_dir},
      {"--cache-dir", &flags.cache_dir},   {"--runtime-dir", &flags.runtime_dir},
      {"--tls-cert", &flags.tls_cert},     {"--tls-key", &flags.tls_key},
      {"--log-level", &flags.log_level},   {"--gateway-listen", &flags.gateway_listen},
      {"--guest-silence", &guest_silence},
  };
  CLI::App app(
      "Run the daemon in the foreground, until SIGTERM or SIGINT\n\n"
      "Serves the API and runs sandboxes. What is in brackets is taken when the flag is not given; "
      "the tls folder is\n"
      "that of the config.\n",
      "cleanroom serve");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.footer(
      "\nExamples:\n"
      "  cleanroom serve &\n"
      "  cleanroom serve --listen unix:///tmp/cleanroom.sock --log-level debug");
  for (const config::ServeFlag& flag : config::kServeFlags) {
    const auto found =
        std::find_if(std::begin(values), std::end(values),
                     [&flag](const auto& value) { return value.first == flag.name; });
    CLI::Option* option = found == std::end(values)
                              ? app.add_option(flag.name, flags.listen, flag.help)
                              : app.add_option(flag.name, *found->second, flag.help);
    option->option_text(flag.value);
  }
  args.erase(args.begin());
  std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
  try {
    app.parse(args);
  } catch (const CLI::CallForHelp&) {
    out.help = app.help();
    return out;
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> rest = app.remaining();
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is no flag of serve", rest.empty() ? "" : rest.front()));
  } catch (const CLI::ParseError& error) {
    return Err(ErrorCode::kInvalidArgument, error.what());
  }
  CR_TRY(CheckValues(flags, guest_silence, flags.guest_silence_seconds));
  return out;
}

std::string DescribeServeError(const Error& error, std::string_view remedy) {
  if (remedy.empty()) remedy = error.remedy();
  return fmt::format("cleanroom: {}\n{}\n", error.ToString(),
                     remedy.empty() ? RemedyFor(error) : remedy);
}

}  // namespace cleanroom::server
