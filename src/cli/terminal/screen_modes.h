// ScreenModes: what a program has switched on in the user's terminal by what it wrote, and the
// bytes that switch it off again. For when the program's end never came: a full-screen program
// whose machine died has not left the alternate screen, nor given back the mouse or the cursor.
//
// Reads hostile bytes: its memory is fixed. It understands the control sequences below (ECMA-48,
// and those of xterm) however they are cut, and passes over everything else.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <string>
#include <string_view>

namespace cleanroom::cli {

class ScreenModes {
 public:
  // Sees the next bytes of the output. True when what Undo would say may have changed.
  bool Watch(std::string_view output);

  // What takes the terminal back to how a shell expects it; empty when nothing was switched on.
  // Does not end a line.
  std::string Undo() const;

  // Whether the cursor stands at the beginning of a line once Undo is written, as far as known.
  bool at_line_start() const;

  // Longest text that Undo returns.
  static constexpr size_t kMaxUndo = 256;

 private:
  enum class State { kText, kEscape, kCharset, kSequence, kString, kStringEscape };

  void Take(char c);
  void BeginSequence();
  void TakeInSequence(char c);
  void EndSequence(char final_byte);
  void Reset();

  State state_ = State::kText;
  // Of the sequence under way.
  char prefix_ = 0;        // '?', '>', '<' or '='
  char intermediate_ = 0;  // ' ', '!', …
  std::array<int, 8> parameters_{};
  size_t count_ = 0;

  std::bitset<32> changed_;  // of kPrivateModes, those that are not as a terminal begins
  bool application_keypad_ = false;
  bool margins_ = false;
  bool colored_ = false;
  bool line_drawing_ = false;
  bool insert_ = false;
  bool cursor_shape_ = false;
  bool modified_keys_ = false;  // xterm's modifyOtherKeys
  int key_flags_ = 0;           // pushed by the program (the keyboard protocol of kitty)
  bool after_newline_ = true;
  bool touched_ = false;
};

}  // namespace cleanroom::cli
