// What is to be run, and with what configuration: values.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "git/remote_url.h"

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
  // As long as a server may take to put a large pack together, of which it says next to nothing.
  std::chrono::seconds low_speed_time{120};
};

}  // namespace cleanroom::git
