// Runs other programs in tests and keeps what they said.
#pragma once

#include <string>
#include <thread>
#include <vector>

namespace cleanroom::testing {

struct CommandResult {
  int status = -1;     // exit code; 128 + signal
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

// A program that runs beside the test until this object goes, or the test program dies.
class Background {
 public:
  // Returns when the program has written `mark` and a word after it (to stdout or stderr): that
  // word is found(). Aborts the test program with what was written when the program ends before.
  Background(const std::vector<std::string>& argv, const std::string& mark);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  const std::string& found() const { return found_; }

 private:
  int pid_ = -1;
  int fd_ = -1;
  std::string found_;
  std::thread drain_;
};

}  // namespace cleanroom::testing
