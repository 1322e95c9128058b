#include "cli/sandbox_choice.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/id.h"
#include "cli/errors.h"

namespace cleanroom::cli {

namespace v1 = ::cleanroom::v1;

void AddSandboxChoice(CLI::App& command, SandboxChoice& choice) {
  auto* id = command.add_option("id", choice.id, "The sandbox")->option_text("ID");
  command.add_flag("--last", choice.last, "The one made last")->excludes(id);
}

Result<void> CheckSandboxChoice(const SandboxChoice& choice, const std::string& command) {
  if (choice.last) return {};
  if (choice.id.empty()) return Err(UsageError("which sandbox? Give its ID or --last", command));
  return CheckId(choice.id, "sandbox id");
}

Awaitable<Result<std::string>> ResolveSandbox(client::Api& api, SandboxChoice choice) {
  if (!choice.last) co_return choice.id;
  v1::ListSandboxesRequest request;
  request.set_all(true);
  auto list = co_await api.ListSandboxes(std::move(request));
  if (!list) co_return Err(std::move(list).error());
  // Ids sort by time.
  std::string last;
  for (const v1::Sandbox& sandbox : list->sandboxes()) last = std::max(last, sandbox.sandbox_id());
  if (last.empty()) co_return Err(ErrorCode::kNotFound, "there is no sandbox");
  co_return last;
}

}  // namespace cleanroom::cli
