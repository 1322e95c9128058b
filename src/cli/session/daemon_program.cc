#include "cli/session/daemon_program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

namespace cleanroom::cli {

namespace fs = std::filesystem;

Result<std::string> FindDaemonProgram() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return Err(ErrorCode::kInternal, "reading /proc/self/exe: " + error.message());
  return FindDaemonProgram(self.parent_path().string());
}

Result<std::string> FindDaemonProgram(const std::string& program_folder) {
  const std::string beside = (fs::path(program_folder) / "cleanroomd").string();
  const std::string libexec =
      (fs::path(program_folder).parent_path() / "libexec/cleanroom/cleanroomd").string();
  for (const std::string& path : {beside, libexec}) {
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return Err(
      ErrorCode::kNotFound,
      fmt::format(
          "the daemon's program is missing: neither {} nor {} can be run; install cleanroomd there",
          beside, libexec));
}

Error BecomeDaemon(const std::vector<std::string>& args) {
  auto program = FindDaemonProgram();
  if (!program) return std::move(program).error();
  std::vector<std::string> words = {*program, "serve"};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  signal(SIGPIPE, SIG_DFL);  // ignored signals stay ignored over exec
  execv(program->c_str(), argv.data());
  return Error::FromErrno(ErrorCode::kInternal, errno, "starting " + *program);
}

}  // namespace cleanroom::cli
