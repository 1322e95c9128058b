// A real git server for tests: git's http-backend on a free loopback port, over repositories that a
// test makes. It ends with this object.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/command.h"

namespace cleanroom::testing {

class GitServer {
 public:
  // `flags`: see git_http_server.py.
  explicit GitServer(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> argv = {
        "python3", CLEANROOM_SOURCE "/tests/support/git_http_server.py", folder_.path()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    program_ = std::make_unique<Background>(argv, "listening ");
  }

  // "127.0.0.1:PORT"
  const std::string& host() const { return program_->found(); }
  // "localhost:PORT"
  std::string named_host() const { return "localhost" + host().substr(host().find(':')); }
  std::string Url(const std::string& name) const { return "http://" + host() + "/" + name; }
  std::string operator/(const std::string& name) const { return folder_ / name; }
  // Runs a script in the folder of the repositories; aborts the test program when it fails.
  std::string Script(const std::string& script) const {
    const CommandResult done = RunScript("cd " + folder_.path() +
                                         "; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
                                         "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
                                         " GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1;\n" +
                                         script);
    if (done.status != 0) {
      fprintf(stderr, "script failed: %s\n%s\n", script.c_str(), done.output.c_str());
      abort();
    }
    std::string out = done.output;
    while (out.ends_with('\n')) out.pop_back();
    return out;
  }
  // Requests so far that have `part` in them.
  int Requests(const std::string& part = "") const {
    std::ifstream log(folder_ / "requests");
    int count = 0;
    for (std::string line; std::getline(log, line);) count += line.find(part) != std::string::npos;
    return count;
  }

 private:
  TestFolder folder_;
  std::unique_ptr<Background> program_;
};

}  // namespace cleanroom::testing
