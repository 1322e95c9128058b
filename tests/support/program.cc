#include "support/program.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "os/process.h"

namespace cleanroom::test {

std::string RequiredEnv(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) {
    std::fprintf(stderr, "%s is not set; run this test through ctest\n", name);
    std::abort();
  }
  return value;
}

std::string Program(const std::string& name) { return RequiredEnv("CLEANROOM_BIN") + "/" + name; }

Outcome Run(const std::vector<std::string>& argv, const std::vector<std::string>& env,
            std::string input, std::chrono::seconds timeout, const std::string& cwd) {
  os::RunOptions options;
  std::vector<std::string> all = {std::string("PATH=") + RequiredEnv("PATH"), "LC_ALL=C.UTF-8"};
  all.insert(all.end(), env.begin(), env.end());
  options.spawn.env = all;
  options.spawn.cwd = cwd;
  options.input = std::move(input);
  options.timeout = timeout;
  options.max_output = size_t{256} << 20;
  auto output = os::Run(argv, options);
  if (!output) {
    ADD_FAILURE() << argv[0] << ": " << output.error().ToString();
    return {};
  }
  return {.code = output->status.ShellCode(),
          .out = std::move(output->out),
          .err = std::move(output->err)};
}

}  // namespace cleanroom::test
