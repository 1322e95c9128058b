// Runs other programs in tests and keeps what they said.
#pragma once

#include <string>

namespace cleanroom::testing {

struct CommandResult {
  int status = -1;  // exit code; 128 + signal
  std::string output;  // stdout and stderr together
};

// Runs `script` with `bash -euo pipefail -c`.
CommandResult RunScript(const std::string& script);

// A folder of its own under the system's temporary folder; removed with the object.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace cleanroom::testing
