// WardenProcess: the process that holds one sandbox, started by us or found again after a restart.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/async.h"
#include "base/result.h"
#include "os/process.h"
#include "os/unique_fd.h"

namespace cleanroom::server {

struct FoundWarden {
  SandboxId sandbox_id;
  std::string folder;
  pid_t pid;
};

struct WardenSpec {
  std::string program;
  SandboxId sandbox_id;
  std::string folder;  // absolute; exists
  // For the warden's VMM, beside the distribution's programs: files and folders that it reads, and
  // files that it writes.
  std::vector<std::string> readable;
  std::vector<std::string> writable;
  // Whom the warden becomes, to whom `folder` and what is in it must belong; nothing: us.
  std::optional<uid_t> user;
  // The caller's; -1: none. Where forks of its machine, which is to be held, are asked for, or a
  // connection to the VMM of the held machine that it is to fork.
  int fork_listener = -1;
  int fork_connection = -1;
};

class WardenProcess {
 public:
  // Makes FOLDER/warden.sock and starts the program with it as descriptor 3, in a session of its
  // own, with an empty environment and stderr in FOLDER/warden.log. Of the host's files the warden
  // will see the folder and nothing else.
  static Result<WardenProcess> Start(const WardenSpec& spec);
  // Takes over a process found by FindWardens; not_found when it has ended.
  static Result<WardenProcess> Adopt(const FoundWarden& found);

  WardenProcess(WardenProcess&&) noexcept = default;
  WardenProcess& operator=(WardenProcess&&) noexcept = default;

  // Waits for its end, at most until `deadline`; false when it still runs then, or when the task is
  // cancelled.
  Awaitable<bool> WaitEnd(std::chrono::steady_clock::time_point deadline);
  // SIGKILL; its machine dies with it. Nothing happens when it has ended.
  void Kill();
  // Sends copies of the descriptors to the warden, which takes them when it is asked to attach
  // files. failed_precondition for one that was found again: it has no such connection.
  Result<void> HandOver(std::span<const int> fds);
  // How it ended, for people; empty while it runs, and for an adopted one.
  std::string EndText() const { return end_text_; }
  pid_t pid() const { return pid_; }

 private:
  WardenProcess(pid_t pid, os::UniqueFd pidfd, std::optional<os::Process> child)
      : pid_(pid), pidfd_(std::move(pidfd)), child_(std::move(child)) {}

  pid_t pid_;
  os::UniqueFd pidfd_;
  os::UniqueFd handover_;             // nothing for an adopted one
  std::optional<os::Process> child_;  // nothing for an adopted one, which is no child of ours
  std::string end_text_;
};

// The wardens of sandboxes under `sandboxes_dir`, whoever started them, by their command lines in
// /proc.
// A process that is still in its execve has no command line yet and is not found; such a warden has
// no launch to carry out and ends by itself (warden/main.cc).
std::vector<FoundWarden> FindWardens(const std::string& sandboxes_dir);

// The --sandbox-id and --dir of a warden's command line (/proc/PID/cmdline: NUL-terminated
// arguments) when its folder is directly in `sandboxes_dir` and carries the id's name; else
// nothing.
std::optional<FoundWarden> ParseWardenCommandLine(std::string_view command_line,
                                                  std::string_view sandboxes_dir);

}  // namespace cleanroom::server
