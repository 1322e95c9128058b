// A git repository that a test makes, with a bare one beside it as its remote.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "os/file.h"
#include "os/process.h"

namespace cleanroom::workspace {

class TestRepository {
 public:
  // Empty, with the remote "origin", which has nothing yet.
  TestRepository() : folder_(*os::TempDir::Create()) {
    // git knows who commits, and nothing of who runs the tests.
    std::ofstream(folder_.path() + "/gitconfig")
        << "[user]\n\tname = Test\n\temail = test@host.example\n[init]\n\tdefaultBranch = main\n"
           "[protocol \"file\"]\n\tallow = always\n";
    setenv("GIT_CONFIG_GLOBAL", (folder_.path() + "/gitconfig").c_str(), 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    std::filesystem::create_directory(top());
    Run("git init -q --bare ../origin.git && git init -q . && git remote add origin "
        "\"$PWD/../origin.git\"");
  }

  std::string top() const { return folder_.path() + "/work"; }
  std::string user_config() const { return folder_.path() + "/gitconfig"; }
  std::string Path(const std::string& name) const { return top() + "/" + name; }

  // A shell script in the work tree; what it prints, without the last newline.
  std::string Run(const std::string& script) const {
    os::RunOptions options;
    options.spawn.cwd = top();
    options.timeout = std::chrono::minutes(1);
    options.max_output = size_t{64} << 20;
    auto output = os::Run({"bash", "-euc", script}, options);
    if (!output || !output->status.ok()) {
      ADD_FAILURE() << script << ": " << (output ? output->err : output.error().message());
      return "";
    }
    if (output->out.ends_with('\n')) output->out.pop_back();
    return output->out;
  }

  void Write(const std::string& name, std::string_view contents) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << contents;
  }
  std::string Read(const std::string& name) const {
    std::ostringstream out;
    out << std::ifstream(Path(name), std::ios::binary).rdbuf();
    return out.str();
  }
  std::string Commit(const std::string& message = "change") const {
    return Run("git add -A && git commit -q --allow-empty -m '" + message +
               "' && git rev-parse HEAD");
  }
  void Push() const { Run("git push -q origin HEAD:main && git fetch -q origin"); }

  // All that is in .git, by name, with size and time of change: what nothing of ours may alter.
  // Without the times that git renews when it reads: of objects that it was about to write, of the
  // shared part of a split index.
  std::map<std::string, std::string> GitFolder() const {
    std::map<std::string, std::string> out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top() + "/.git")) {
      struct stat info = {};
      lstat(entry.path().c_str(), &info);
      std::string& text = out[entry.path()] = std::to_string(info.st_size);
      const std::string path = entry.path();
      if (path.find("/objects/") != path.npos || path.find("/sharedindex.") != path.npos) continue;
      text +=
          " " + std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
    }
    return out;
  }

 private:
  os::TempDir folder_;
};

}  // namespace cleanroom::workspace
