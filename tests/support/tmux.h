// A real terminal emulator: one tmux with one window, in which a shell runs. What it shows can be
// read back, attributes and all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "os/file.h"

namespace cleanroom::test {

class Tmux {
 public:
  // `env` ("KEY=value") is added to PATH and HOME alone, as for Run.
  Tmux(std::vector<std::string> env, int columns, int rows);
  ~Tmux();
  Tmux(const Tmux&) = delete;
  Tmux& operator=(const Tmux&) = delete;

  // Types the text, then Enter.
  void Enter(const std::string& text);
  // Types the text as it is, or keys by tmux's names ("C-c", "Escape", "PageDown").
  void Type(const std::string& text);
  void Key(const std::string& name);
  // Pastes a file's bytes; line feeds as a terminal sends them, as carriage returns.
  void Paste(const std::string& file);
  void Resize(int columns, int rows);
  // Ends the window, as a user closes it: what runs in it gets SIGHUP.
  void CloseWindow();

  // What is shown, a line each, without blanks at their ends; with `Attributes::kShow`, colors and
  // the like as escape sequences.
  enum class Attributes { kHide, kShow };
  std::string Screen(Attributes attributes = Attributes::kHide) const;
  // A format of tmux: "#{alternate_on}".
  std::string Ask(const std::string& format) const;
  // Waits until it is true; adds a failure with the screen, and answers false, when it does not
  // become true within a minute.
  bool WaitUntil(const std::function<bool()>& condition, const std::string& what) const;
  // Until the text is shown.
  bool WaitFor(const std::string& text) const;
  bool Shows(const std::string& text) const { return Screen().find(text) != std::string::npos; }
  // How the shell's terminal is set, in stty's words, as nobody but the shell and what it runs can
  // change it. Needs no prompt.
  std::string Mode() const;

 private:
  std::string Command(std::vector<std::string> args) const;

  os::TempDir folder_;
  std::vector<std::string> env_;
  std::string terminal_;
  mutable bool broken_ = false;  // tmux has failed: nothing is worth waiting for
};

}  // namespace cleanroom::test
