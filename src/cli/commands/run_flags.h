// The flags of exec, console, create and `sandbox create`, and which of them contradict each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace cleanroom::cli {

struct RunFlags {
  std::string policy_file{};  // -c
  std::string chdir{};        // -C
  std::string backend{};
  std::string image{};
  int64_t launch_seconds = 0;
  std::string sandbox_id{};  // --in
  std::string from{};
  std::string repo_url{};
  std::string repo_commit{};
  std::string workdir{};
  std::string user{};
  std::string timeout{};
  std::vector<std::string> env{};
  std::vector<std::string> expose{};
  std::vector<std::string> expose_https{};
  bool rm = false;
  bool keep = false;
  bool copy_in = false;
  bool copy_out = false;
  bool sync = false;
  bool tty = false;
  bool no_stdin = false;
  bool dangerously_allow_all = false;
  bool docker = false;
  bool print_sandbox_id = false;
  bool quiet = false;

  bool CopiesIn() const { return copy_in || sync; }
  bool CopiesOut() const { return copy_out || sync; }
};

enum class RunKind { kExec, kConsole, kCreate, kSandboxCreate };

// Gives `command` the flags of its kind.
void AddRunFlags(CLI::App& command, RunKind kind, RunFlags& flags);

// invalid_argument naming the pair, when two flags contradict each other; then
// backend_capability_mismatch naming the flag, when one asks for what cannot be enforced.
Result<void> CheckRunFlags(const RunFlags& flags, RunKind kind);

}  // namespace cleanroom::cli
