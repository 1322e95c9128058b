// Runs the built programs as a user would and returns everything they said.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace cleanroom::test {

struct Outcome {
  int code = -1;  // as a shell shows it: 128 + signal
  std::string out;
  std::string err;
};

// Environment variable that the build sets for tests; aborts when it is missing.
std::string RequiredEnv(const char* name);

// build/<preset>/bin/<name>
std::string Program(const std::string& name);

// Runs argv with `env` ("KEY=value") added to PATH and HOME alone. A command that takes longer than
// `timeout` is killed and the calling test fails.
Outcome Run(const std::vector<std::string>& argv, const std::vector<std::string>& env = {},
            std::string input = "", std::chrono::seconds timeout = std::chrono::seconds(120),
            const std::string& cwd = "");

}  // namespace cleanroom::test
