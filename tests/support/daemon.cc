#include "support/daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

namespace cleanroom::test {
namespace {

constexpr std::chrono::seconds kStartLimit{30};
constexpr std::chrono::seconds kStopLimit{30};

std::pair<os::UniqueFd, os::UniqueFd> Pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  return {os::UniqueFd(ends[0]), os::UniqueFd(ends[1])};
}

// Reads until the text has come, or the time is over. What it read.
std::string ReadUntil(int fd, const std::string& text, std::chrono::seconds limit) {
  std::string out;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (out.find(text) == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) <= 0) break;
    std::array<char, 4096> buffer{};
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n <= 0) break;
    out.append(buffer.data(), static_cast<size_t>(n));
  }
  return out;
}

}  // namespace

Daemon::Daemon(const std::string& config, std::vector<std::string> flags)
    : folder_(os::TempDir::Create().value()), flags_(std::move(flags)) {
  const std::string config_dir = folder_.path() + "/config/cleanroom";
  EXPECT_TRUE(os::MakeDirs(config_dir).has_value());
  EXPECT_TRUE(os::MakeDirs(folder_.path() + "/run").has_value());
  EXPECT_TRUE(os::MakeDirs(RequiredEnv("CLEANROOM_TEST_CACHE")).has_value());
  std::ofstream file(config_dir + "/config.yaml");
  file << config;
  if (config.find("pool:") == std::string::npos) file << "\npool: { size: 0, memory_mib: 0 }\n";
  file.close();
  Start();
}

Daemon::~Daemon() {
  if (process_) {
    EXPECT_EQ(Stop(), 0) << "the daemon's exit code";
  }
  EXPECT_TRUE(Leftovers().empty()) << Leftovers().front();
  if (testing::Test::HasFailure()) {
    std::ifstream log(folder_.path() + "/daemon.log");
    std::cerr << "--- daemon.log\n"
              << std::string(std::istreambuf_iterator<char>(log), {}) << "---\n";
  }
}

std::vector<std::string> Daemon::environment() const {
  const std::string& root = folder_.path();
  return {"HOME=" + root,
          "XDG_CONFIG_HOME=" + root + "/config",
          "XDG_STATE_HOME=" + root + "/state",
          "XDG_CACHE_HOME=" + RequiredEnv("CLEANROOM_TEST_CACHE"),
          "XDG_RUNTIME_DIR=" + root + "/run",
          "CLEANROOM_HOST=unix://" + socket()};
}

void Daemon::Start() {
  auto [read_end, write_end] = Pipe();
  const int log = open((folder_.path() + "/daemon.log").c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  os::SpawnOptions options;
  options.env = environment();
  options.env->push_back("PATH=" + RequiredEnv("PATH"));
  options.fds = {{1, write_end.get()}, {2, log}};
  std::vector<std::string> argv = {Program("cleanroom"), "serve",       "--listen",
                                   "unix://" + socket(), "--log-level", "debug"};
  argv.insert(argv.end(), flags_.begin(), flags_.end());
  auto started = os::Process::Spawn(argv, options);
  close(log);
  ASSERT_TRUE(started.has_value()) << started.error().ToString();
  process_ = std::move(*started);
  write_end.reset();
  listening_ = ReadUntil(read_end.get(), "\n", kStartLimit);
  ASSERT_NE(listening_.find("listening"), std::string::npos)
      << "the daemon did not start: " << listening_;
}

int Daemon::Stop() {
  EXPECT_TRUE(process_->Kill(SIGTERM).has_value());
  auto status = process_->WaitFor(kStopLimit);
  if (!status || !*status) {
    ADD_FAILURE() << "the daemon did not stop in time";
    return -1;
  }
  process_.reset();
  return (*status)->ShellCode();
}

void Daemon::Crash() {
  EXPECT_TRUE(process_->Kill(SIGKILL).has_value());
  EXPECT_TRUE(process_->Wait().has_value());
  process_.reset();
}

void Daemon::CrashAndRestart() {
  Crash();
  Start();
}

Outcome Daemon::Cli(std::vector<std::string> args, std::string input, std::chrono::seconds timeout,
                    const std::string& cwd) const {
  args.insert(args.begin(), Program("cleanroom"));
  return Run(args, environment(), std::move(input), timeout, cwd.empty() ? folder_.path() : cwd);
}

os::Process Daemon::StartCli(std::vector<std::string> args, int out_fd, int err_fd) const {
  args.insert(args.begin(), Program("cleanroom"));
  os::SpawnOptions options;
  options.env = environment();
  options.cwd = folder_.path();
  options.fds = {{1, out_fd}, {2, err_fd}};
  return os::Process::Spawn(args, options).value();
}

std::vector<std::string> Daemon::Leftovers() const {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::string line = os::ReadFile(entry.path() / "cmdline", size_t{1} << 20).value_or("");
    std::replace(line.begin(), line.end(), '\0', ' ');
    // Both carry a path in this daemon's own folder.
    if (line.find(folder_.path()) == std::string::npos) continue;
    if (line.find("cleanroom-warden") != std::string::npos ||
        line.find("qemu-system") != std::string::npos) {
      out.push_back(line);
    }
  }
  return out;
}

std::string BaseImage(const Daemon& daemon) {
  const Outcome imported = daemon.Cli(
      {"image", "import", "cleanroom.test/debian:base", RequiredEnv("CLEANROOM_TEST_IMAGE")});
  EXPECT_EQ(imported.code, 0) << imported.err;
  return imported.out.substr(0, imported.out.find('\n'));
}

}  // namespace cleanroom::test
