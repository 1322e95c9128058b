// Invocation: one run of the program, from its arguments to its exit code.
//
// Each command family has a function `Add...` that puts its commands into the tree, with their
// flags, help and examples; parsing sets `run` to the chosen one. A command returns its exit code
// and has printed everything by then.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace CLI {
class App;
}

namespace cleanroom::cli {

enum class LogLevel { kError, kWarn, kInfo, kDebug };

// Flags that every command takes.
struct ClientFlags {
  std::string host;        // --host; empty: resolved (environment, config, sockets)
  std::string tls_ca;      // --tls-ca
  std::string auth_token;  // --auth-token
  LogLevel log_level = LogLevel::kWarn;
};

struct Invocation {
  ClientFlags client;
  // What stood after the first "--": the command of exec and console.
  std::optional<std::vector<std::string>> command;
  std::function<int()> run;
  int failure_code = 1;            // of the chosen command, where it fails
  std::string name = "cleanroom";  // with the command: "cleanroom image pull"
};

// A leaf of the tree: `cleanroom GROUP NAME`. The function it returns runs on selection.
struct CommandHelp {
  const char* name;
  const char* summary;
  // Whole lines as typed, without a prompt.
  const char* examples;
};
CLI::App* AddCommand(CLI::App& parent, const CommandHelp& help);
// A group of commands, e.g. `image`.
CLI::App* AddGroup(CLI::App& parent, const char* name, const char* summary);

void AddExecCommands(CLI::App& root, Invocation& invocation);  // exec, console, create
void AddSandboxCommands(CLI::App& root, Invocation& invocation);
void AddExecutionCommands(CLI::App& root, Invocation& invocation);  // execution, status
void AddCopyCommand(CLI::App& root, Invocation& invocation);        // cp
void AddWorkspaceCommands(CLI::App& root, Invocation& invocation);
void AddPolicyCommands(CLI::App& root, Invocation& invocation);
void AddImageCommands(CLI::App& root, Invocation& invocation);
void AddConfigCommands(CLI::App& root, Invocation& invocation);
void AddGatewayCommands(CLI::App& root, Invocation& invocation);
void AddSystemCommands(CLI::App& root, Invocation& invocation);
void AddHostCommands(CLI::App& root, Invocation& invocation);  // doctor, version, serve
void AddCompletionCommand(CLI::App& root, Invocation& invocation);

// The whole tree.
std::unique_ptr<CLI::App> BuildTree(Invocation& invocation);

// Runs the program. `args` without the program's name.
int Main(std::vector<std::string> args);

// Prints "cleanroom: CODE: message" and a line saying what to do next to standard error. Returns 1,
// the exit code of our errors.
int Fail(const Error& error);
// The same; a mistake in the command line leads to the help of the invocation's command. Returns its
// failure code.
int Fail(const Invocation& invocation, const Error& error);

}  // namespace cleanroom::cli
