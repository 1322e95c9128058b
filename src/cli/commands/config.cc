// config init and validate: the runtime config of this user. Offline.
#include "config/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "cli/output/text.h"
#include "cli/session/errors.h"
#include "cli/session/invocation.h"
#include "cli/session/session.h"
#include "config/paths.h"
#include "os/file.h"

namespace cleanroom::cli {
namespace {

constexpr CommandHelp kInit = {
    "init", "Write a config with every key, commented, at its default; print its path",
    "cleanroom config init\n"
    "cleanroom config init --path ./config.yaml --default-backend qemu --force"};
constexpr CommandHelp kValidate = {
    "validate", "Check the config; reports everything that is wrong, with its place",
    "cleanroom config validate\ncleanroom config validate --path ./config.yaml"};

struct Flags {
  std::string path;
  std::string default_backend = "qemu";
  bool force = false;
};

Result<std::string> PathFor(const Flags& flags) {
  if (!flags.path.empty()) return flags.path;
  CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
  return paths.config_file;
}

Result<std::string> Init(const Flags& flags) {
  CR_TRY_ASSIGN(std::string path, PathFor(flags));
  CR_TRY_ASSIGN(const std::string text, config::InitText(flags.default_backend));
  if (!flags.force && access(path.c_str(), F_OK) == 0) {
    return Err(ErrorCode::kAlreadyExists, fmt::format("{} exists; --force replaces it", path));
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) CR_TRY(os::MakeDirs(folder));
  CR_TRY(os::WriteFileAtomic(path, text));  // 0600: it may hold credentials
  return path;
}

int Validate(const Flags& flags) {
  const auto path = PathFor(flags);
  if (!path) return Fail(path.error());
  const auto parsed = config::Load(*path);
  if (!parsed) return Fail(parsed.error());
  for (const document::Diagnostic& warning : parsed->warnings) {
    PrintWarning(document::Format(warning));
  }
  return PrintAnswer(fmt::format("source: {}\n", Printable(*path)));
}

}  // namespace

void AddConfigCommands(CLI::App& root, Invocation& invocation) {
  CLI::App* group = AddGroup(root, "config", "Write and check the runtime config");
  {
    CLI::App* command = AddCommand(*group, kInit);
    const auto flags = std::make_shared<Flags>();
    command->add_option("--path", flags->path, "Where, instead of the user's config")
        ->option_text("FILE");
    command
        ->add_option("--default-backend", flags->default_backend,
                     "qemu (default), firecracker or darwin-vz")
        ->option_text("NAME");
    command->add_flag("-f,--force", flags->force, "Replace a file that exists");
    command->callback([&invocation, flags] {
      invocation.run = [&invocation, flags] {
        const auto path = Init(*flags);
        return path ? PrintAnswer(*path + "\n") : Fail(invocation, path.error());
      };
    });
  }
  {
    CLI::App* command = AddCommand(*group, kValidate);
    const auto flags = std::make_shared<Flags>();
    command->add_option("--path", flags->path, "The file, instead of the user's config")
        ->option_text("FILE");
    command->callback(
        [&invocation, flags] { invocation.run = [flags] { return Validate(*flags); }; });
  }
}

}  // namespace cleanroom::cli
