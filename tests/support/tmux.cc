#include "support/tmux.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

#include "support/program.h"

namespace cleanroom::test {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kGlance{30};

}  // namespace

Tmux::Tmux(std::vector<std::string> env, int columns, int rows)
    : folder_(os::TempDir::Create().value()), env_(std::move(env)) {
  std::ofstream(folder_.path() + "/config")
      << "set -g status off\nset -g default-terminal screen-256color\nset -g escape-time 0\n"
         "set -s exit-empty off\n";
  Command({"new-session", "-d", "-s", "t", "-x", std::to_string(columns), "-y",
           std::to_string(rows), "exec sh"});
  terminal_ = Ask("#{pane_tty}");
  // The terminal echoes what is typed before the shell has begun, and before it has its mode; only
  // the prompt has these letters in a row.
  Enter("PS1='ho''st$ '; clear");
  WaitFor("host$");
}

Tmux::~Tmux() { Command({"kill-server"}); }

std::string Tmux::Command(std::vector<std::string> args) const {
  args.insert(args.begin(),
              {"tmux", "-S", folder_.path() + "/socket", "-f", folder_.path() + "/config"});
  const Outcome outcome = Run(args, env_);
  if (outcome.code != 0) {
    broken_ = true;
    ADD_FAILURE() << "tmux " << args[5] << ": " << outcome.err;
  }
  return outcome.out;
}

void Tmux::Enter(const std::string& text) {
  Type(text);
  Key("Enter");
}

void Tmux::Type(const std::string& text) { Command({"send-keys", "-t", "t", "-l", "--", text}); }

void Tmux::Key(const std::string& name) { Command({"send-keys", "-t", "t", name}); }

void Tmux::Paste(const std::string& file) {
  Command({"load-buffer", "-b", "paste", file});
  Command({"paste-buffer", "-d", "-b", "paste", "-t", "t"});
}

void Tmux::Resize(int columns, int rows) {
  Command({"resize-window", "-t", "t", "-x", std::to_string(columns), "-y", std::to_string(rows)});
}

void Tmux::CloseWindow() { Command({"kill-window", "-t", "t"}); }

std::string Tmux::Screen(Attributes attributes) const {
  std::vector<std::string> args = {"capture-pane", "-p", "-t", "t"};
  if (attributes == Attributes::kShow) args.emplace_back("-e");
  return Command(std::move(args));
}

std::string Tmux::Ask(const std::string& format) const {
  std::string out = Command({"display-message", "-p", "-t", "t", format});
  if (!out.empty()) out.pop_back();
  return out;
}

bool Tmux::WaitUntil(const std::function<bool()>& condition, const std::string& what) const {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (broken_ || std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "in vain waited for: " << what << "\nthe screen:\n" << Screen();
      return false;
    }
    std::this_thread::sleep_for(kGlance);
  }
  return true;
}

bool Tmux::WaitFor(const std::string& text) const {
  return WaitUntil([&] { return Shows(text); }, text);
}

std::string Tmux::Mode() const { return Run({"stty", "-g", "-F", terminal_}).out; }

}  // namespace cleanroom::test
