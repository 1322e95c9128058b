// HostView: what a daemon and its sandboxes have on the host, as the host itself shows it: /proc,
// /sys/fs/cgroup and the folders. As an ordinary user it sees what /proc lets that user see.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace cleanroom::test {

struct HostProcess {
  pid_t pid = 0;
  pid_t parent = 0;
  std::string program;     // the file's name
  std::string sandbox_id;  // from its command line, or its parent's; empty: of none
  bool IsWarden() const { return program == "cleanroom-warden"; }
  bool IsMachine() const { return program.starts_with("qemu-system"); }
};

class HostView {
 public:
  // `folder`: holds all that the daemon writes, but for its cache.
  explicit HostView(std::string folder, std::string state_dir)
      : folder_(std::move(folder)), state_dir_(std::move(state_dir)) {}

  // Wardens and machines of the daemon's sandboxes, also those that nobody has claimed. Without
  // those that have ended and are not reaped.
  std::vector<HostProcess> Processes() const;
  // The git processes that work in the daemon's state folder.
  std::vector<pid_t> GitProcesses() const;
  // The folders of sandboxes.
  std::set<std::string> Folders() const;
  // The files of unix sockets in the folder.
  std::set<std::string> Sockets() const;
  // Mounts of or on something in the folder, in this process's own mount namespace.
  std::vector<std::string> Mounts() const;
  // Control groups that carry this id in their name.
  std::vector<std::string> Cgroups(const std::string& id) const;
  // Those of the process that are not this process's own: "net:[4026532281]".
  static std::set<std::string> Namespaces(pid_t pid);
  // Who has which of these: pids of processes that are in it or hold it open, kMounted for a mount.
  using Holders = std::map<std::string, std::set<pid_t>>;
  static constexpr pid_t kMounted = 0;
  static Holders HoldersOf(const std::set<std::string>& namespaces);
  // A line for each of these namespaces and each holder that it had `before` and still has: what is
  // gone leaves its number to the next.
  static std::string StillHeld(const std::set<std::string>& namespaces, const Holders& before);
  // Files in the daemon's state folder that belong to no sandbox and are no part of its layout:
  // drafts, temporary files. `executions`: ids whose output may be kept.
  std::vector<std::string> StrayFiles(const std::set<std::string>& executions) const;

 private:
  std::string folder_;
  std::string state_dir_;
};

}  // namespace cleanroom::test
