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

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "archive/byte_source.h"
#include "base/result.h"
#include "git/command.h"
#include "os/process.h"

namespace cleanroom::git {

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
