#include "cli/commands/sandbox_choice.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <tuple>

#include "base/id.h"
#include "cli/session/errors.h"

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

void SortByCreation(v1::ListSandboxesResponse& list) {
  const auto key = [](const v1::Sandbox& sandbox) {
    return std::tuple(sandbox.created_at().seconds(), sandbox.created_at().nanos(),
                      std::string_view(sandbox.sandbox_id()));
  };
  std::sort(list.mutable_sandboxes()->pointer_begin(), list.mutable_sandboxes()->pointer_end(),
            [key](const v1::Sandbox* a, const v1::Sandbox* b) { return key(*a) < key(*b); });
}

Awaitable<Result<std::string>> ResolveSandbox(client::Api& api, SandboxChoice choice) {
  if (!choice.last) co_return choice.id;
  v1::ListSandboxesRequest request;
  request.set_all(true);
  auto list = co_await api.sandboxes.ListSandboxes(std::move(request));
  if (!list) co_return Err(std::move(list).error());
  if (list->sandboxes().empty()) {
    co_return Err(Error(ErrorCode::kNotFound, "there is no sandbox").About(SubjectKind::kSandbox));
  }
  SortByCreation(*list);
  co_return list->sandboxes(list->sandboxes_size() - 1).sandbox_id();
}

}  // namespace cleanroom::cli
