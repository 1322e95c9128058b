// Running git: the one place that makes its command lines and environments.
//
// Two kinds of run, which share nothing but the program:
//   local     reads and writes mirrors and temporary folders. No network, no home, no configuration but
//             the mirror's own, no hooks, no filters, no replace refs. In namespaces of its own (user,
//             network, processes, ...), where the host lets it have them, and under limits of memory, CPU
//             time and file size: what it parses is hostile.
//   upstream  talks to a remote as the user that the daemon is: with that user's home, credential
//             helpers and ssh agent. It never asks anybody anything, and speaks https, ssh and what the
//             rules allow.
//
// git says why it failed on stderr: the end of that, made printable, is in the error. A run ends with
// its deadline, the stop token, or whoever started it, and takes its children along.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "archive/byte_source.h"
#include "base/result.h"
#include "git/remote_url.h"
#include "os/process.h"

namespace cleanroom::git {

// What every long operation takes.
struct Control {
  std::stop_token stop{};
  // What git tells of its progress ("Receiving objects:  42% (…)"), from the thread that runs it.
  std::function<void(std::string_view line)> progress{};
};

struct Command {
  // Everything behind "git" and our own options. What somebody else chose stands behind
  // "--end-of-options" or "--".
  std::vector<std::string> args;
  std::filesystem::path git_dir{};         // absolute; empty: none
  std::vector<std::string> environment{};  // "KEY=value", beside ours
  std::vector<std::string> config{};       // "key=value", beside ours
  std::string input{};
  std::chrono::seconds timeout{120};
  size_t max_output = 16u << 20;  // resource_exhausted beyond it
  // The largest file that it may write.
  uint64_t max_file_bytes = 20ull << 30;
};

struct GitConfig {
  std::string program = "git";
  UrlRules rules{};
  // Of upstream runs: what ssh is, without a user to ask.
  std::string ssh_command = "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15";
  // Of upstream runs: beside HOME and its like, which are the daemon's; "KEY=value". For tests.
  std::vector<std::string> environment{};
  std::vector<std::string> config{};
  // A transfer slower than this for so long is given up.
  uint32_t low_speed_bytes = 1000;
  std::chrono::seconds low_speed_time{30};
};

class Git {
 public:
  explicit Git(GitConfig config) : config_(std::move(config)) {}
  const GitConfig& config() const { return config_; }

  // The whole output. A failing git is data_corrupt, with its reason.
  Result<std::string> Local(const Command& command, const Control& control) const;
  // Its output, and whether it succeeded: for questions whose answer is the exit code.
  struct Answer {
    os::ExitStatus status;
    std::string out;
    std::string stderr_text;
  };
  Result<Answer> LocalAnswer(const Command& command, const Control& control) const;
  // The same for upstream runs; what a failure means is the caller's to tell (transfer_error.h).
  Result<Answer> Upstream(const Command& command, const Control& control) const;

  // A local run whose output is read as it comes. At its end Read answers 0 only when git succeeded.
  Result<std::unique_ptr<archive::ByteSource>> LocalStream(const Command& command,
                                                           const Control& control) const;

  // Whether local runs get namespaces of their own on this host. Known after the first.
  static bool IsConfined();

 private:
  GitConfig config_;
};

}  // namespace cleanroom::git
