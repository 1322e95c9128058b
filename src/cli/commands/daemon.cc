// doctor, version and serve.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "cli/output/json.h"
#include "cli/output/text.h"
#include "cli/session/daemon_program.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"
#include "cli/session/version.h"
#include "client/connect.h"
#include "config/serve_flags.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kDoctorHelp = {
    "doctor",
    "Check the daemon and what its host offers and lacks\n\n"
    "The exit code is 1 when a check fails; warnings do not count.",
    "cleanroom doctor\ncleanroom doctor --json | jq .capabilities"};
constexpr CommandHelp kVersionHelp = {"version", "Print the version",
                                      "cleanroom version\ncleanroom version --json"};
constexpr CommandHelp kServeHelp = {
    "serve", "Run the daemon in the foreground (its flags: cleanroom serve --help)",
    "cleanroom serve &\ncleanroom serve --listen unix:///tmp/cleanroom.sock"};

std::string Describe(const v1::DoctorResponse& doctor) {
  size_t width = 0;
  for (const v1::DoctorCheck& check : doctor.checks()) width = std::max(width, check.name().size());
  std::string out;
  for (const v1::DoctorCheck& check : doctor.checks()) {
    out += fmt::format("{:<5} {:<{}}  {}\n", Printable(check.status()), Printable(check.name()),
                       width, Printable(check.message()));
    if (!check.remedy().empty())
      out += fmt::format("{:<5} {:<{}}  -> {}\n", "", "", width, Printable(check.remedy()));
  }
  if (!doctor.default_backend().empty()) {
    out +=
        fmt::format("\nbackend {}{}\n", Printable(doctor.default_backend()),
                    doctor.accelerator().empty() ? "" : " with " + Printable(doctor.accelerator()));
  }
  return out;
}

int Report(const v1::DoctorResponse& doctor, bool json) {
  const int printed = PrintAnswer(json ? ToJson(doctor) : Describe(doctor));
  if (printed != 0) return printed;
  for (const v1::DoctorCheck& check : doctor.checks()) {
    if (check.status() == "fail") return 1;
  }
  return 0;
}

Awaitable<Result<int>> Ask(client::ConnectOptions options, bool json) {
  const std::string url = options.url;
  v1::DoctorResponse report;
  v1::DoctorCheck* daemon = report.add_checks();
  daemon->set_name("daemon");
  auto channel = co_await client::Connect(std::move(options));
  Result<v1::DoctorResponse> answer;
  if (channel) {
    client::Api api(**channel);
    answer = co_await api.system.Doctor({});
    co_await (*channel)->Close();
  } else {
    answer = Err(std::move(channel).error());
  }
  if (answer) {
    daemon->set_status("ok");
    daemon->set_message("answers at " + url);
    report.MergeFrom(*answer);
  } else {
    daemon->set_status("fail");
    daemon->set_message(answer.error().ToString());
    daemon->set_remedy(Remedy(answer.error()));
  }
  co_return Report(report, json);
}

int Doctor(const Invocation& invocation, bool json) {
  auto options = ConnectOptionsFor(invocation.client);
  if (!options) return Fail(invocation, options.error());
  const auto code = RunLoop(Ask(std::move(*options), json));
  return code ? *code : Fail(invocation, code.error());
}

}  // namespace

void AddHostCommands(CLI::App& root, Invocation& invocation) {
  {
    CLI::App* command = AddCommand(root, kDoctorHelp);
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON: the checks, and each backend's capabilities");
    command->callback([&invocation, json] {
      invocation.run = [&invocation, json] { return Doctor(invocation, *json); };
    });
  }
  {
    CLI::App* command = AddCommand(root, kVersionHelp);
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON");
    command->callback([&invocation, json] {
      invocation.run = [json] {
        return PrintAnswer(*json ? fmt::format("{{\n  \"version\": \"{}\"\n}}\n", kVersion)
                                 : fmt::format("cleanroom {}\n", kVersion));
      };
    });
  }
  // Main passes `serve` on before anything is parsed; here it stands for the list of commands and
  // the completions.
  CLI::App* serve = AddCommand(root, kServeHelp);
  for (const config::ServeFlag& flag : config::kServeFlags)
    serve->add_option_function<std::vector<std::string>>(
        flag.name, [](const std::vector<std::string>&) {}, flag.help);
  serve->callback([&invocation] {
    invocation.run = [] {
      return Fail(
          UsageError("the flags of serve stand behind it, as in: cleanroom serve "
                     "--log-level debug",
                     "cleanroom serve"));
    };
  });
}

}  // namespace cleanroom::cli
