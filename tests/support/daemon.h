// A private daemon in folders of its own: started by a test, stopped gracefully at its end.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/file.h"
#include "os/process.h"
#include "support/program.h"

namespace cleanroom::test {

class Daemon {
 public:
  // Starts it and waits until it says that it listens. Images and the kernel come from the build's
  // shared cache, so that they are made once. `config`: the runtime configuration file, as text;
  // what it does not say about it, no machines are kept spare, which would compete with the test.
  // `flags`: of serve, beside those that every test needs.
  explicit Daemon(const std::string& config = "", std::vector<std::string> flags = {});
  // Stops it and fails the test when anything of it is left running.
  ~Daemon();

  // Runs the CLI against it.
  Outcome Cli(std::vector<std::string> args, std::string input = "",
              std::chrono::seconds timeout = std::chrono::seconds(120),
              const std::string& cwd = "") const;
  // The same, but the command goes on: for tests that signal or watch it. stdin is empty.
  os::Process StartCli(std::vector<std::string> args, int out_fd, int err_fd) const;

  // SIGTERM, and waits. The exit code as a shell shows it.
  int Stop();
  // After Stop, on the same folders.
  void StartAgain() { Start(); }
  // kill -9; StartAgain goes on.
  void Crash();
  // kill -9 and a new start on the same folders.
  void CrashAndRestart();

  // Command lines of the live wardens and machines of this daemon's sandboxes.
  std::vector<std::string> Leftovers() const;
  // Holds all that it writes, but for its cache.
  std::string folder() const { return folder_.path(); }
  std::string state_dir() const { return folder_.path() + "/state/cleanroom"; }
  std::string socket() const { return folder_.path() + "/run/cleanroom/cleanroom.sock"; }
  pid_t pid() const { return process_->pid(); }
  // What it said of the endpoints where it listens, with the real ports.
  const std::string& listening() const { return listening_; }
  // What a program needs to be a client of it: "KEY=value" each.
  std::vector<std::string> environment() const;

 private:
  void Start();

  os::TempDir folder_;
  std::vector<std::string> flags_;
  std::optional<os::Process> process_;
  std::string listening_;
};

// Imports the Debian base image once per cache and returns its digest-pinned reference.
std::string BaseImage(const Daemon& daemon);

}  // namespace cleanroom::test
