// Runs a command in a sandbox through the installed client library. usage: consumer IMAGE
#include <iostream>
#include <string>

#include "client/client.h"

namespace client = cleanroom::client;

namespace {

cleanroom::Result<std::string> Run(const std::string& image) {
  CR_TRY_ASSIGN(auto cleanroom, client::Client::FromEnvironment());
  CR_TRY_ASSIGN(const auto policy,
                client::PolicyFromAllowlist(image, "", {client::Allow("api.github.com", 443)}));
  client::EnsureSandboxOptions options;
  options.policy = policy;
  CR_TRY_ASSIGN(const auto sandbox, cleanroom.EnsureSandbox("consumer", options));
  CR_TRY_ASSIGN(const auto again, cleanroom.EnsureSandbox("consumer", options));
  if (sandbox.sandbox_id() != again.sandbox_id()) return "the key made two sandboxes";
  if (client::ShortName(again.status()) != "READY") return "the sandbox is not READY";

  std::string out;
  std::string err;
  client::ExecOptions exec;
  exec.on_stdout = [&out](std::string_view text) { out += text; };
  exec.on_stderr = [&err](std::string_view text) { err += text; };
  exec.stdin_data = "given";
  CR_TRY_ASSIGN(const auto result,
                cleanroom.ExecAndWait(sandbox.sandbox_id(),
                                      {"sh", "-c", "cat; echo told >&2; exit 3"}, exec));
  if (out != "given" || err != "told\n") return "wrong output: " + out + err;
  if (result.exit_code != 3 || !client::HasEnded(result.status)) return "wrong outcome";

  cleanroom::v1::GetSandboxRequest stranger;
  stranger.set_sandbox_id("01kr7p9ksmfa7rmyypyqw2w8r0");
  const auto missing = cleanroom.GetSandbox(stranger);
  if (missing || client::Classify(missing.error().code()) != client::ErrorClass::kState)
    return "a missing sandbox is no matter of state";

  cleanroom::v1::TerminateSandboxRequest end;
  end.set_sandbox_id(sandbox.sandbox_id());
  CR_TRY(cleanroom.TerminateSandbox(end));
  return "well";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto outcome = Run(argv[1]);
  std::cout << (outcome ? *outcome : outcome.error().ToString()) << "\n";
  return outcome && *outcome == "well" ? 0 : 1;
}
