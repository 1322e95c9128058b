// The program `cleanroom` as its users run it, against a FakeDaemon.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "cli/testing/fake_daemon.h"
#include "os/file.h"
#include "os/process.h"

namespace cleanroom::cli {

class ProgramTest : public testing::Test {
 protected:
  std::vector<std::string> Argv(std::vector<std::string> args) {
    std::vector<std::string> argv = {CLEANROOM_PROGRAM, "--host", daemon_.url()};
    argv.insert(argv.end(), args.begin(), args.end());
    return argv;
  }
  os::Output Run(std::vector<std::string> args, std::string input = "") {
    auto output = os::Run(Argv(std::move(args)), {.spawn = InFolder(),
                                                  .input = std::move(input),
                                                  .timeout = std::chrono::seconds(60),
                                                  .max_output = 64U << 20});
    EXPECT_TRUE(output.has_value()) << (output ? "" : output.error().ToString());
    return output ? *output : os::Output{};
  }
  os::Process Start(std::vector<std::string> args) {
    auto process = os::Process::Spawn(Argv(std::move(args)), InFolder());
    EXPECT_TRUE(process.has_value());
    return std::move(*process);
  }

  // In no repository.
  os::SpawnOptions InFolder() const {
    os::SpawnOptions options;
    options.cwd = folder_.path();
    return options;
  }

  FakeDaemon daemon_;
  const os::TempDir folder_ = os::TempDir::Create().value();
  const std::string sandbox_ = FakeDaemon::kSandbox;
  const std::string image_ = "registry.example/base@sha256:" + std::string(64, 'a');
};

// Reads from the terminal's far side until `text` has come.
inline bool Shows(int master, const std::string& text) {
  std::string seen;
  char c = 0;
  while (seen.find(text) == std::string::npos) {
    if (read(master, &c, 1) != 1) return false;
    seen += c;
  }
  return true;
}

}  // namespace cleanroom::cli
