#include "cli/terminal/screen_modes.h"

#include <fmt/format.h>

#include <algorithm>

namespace cleanroom::cli {
namespace {

struct PrivateMode {
  int number;
  bool on_at_first;
  bool alternate_screen = false;
};

// Those that programs set and a shell does not expect: xterm's control sequences, DECSET.
constexpr std::array kPrivateModes = {
    PrivateMode{1, false},  // application cursor keys
    PrivateMode{5, false},  // reverse video
    PrivateMode{6, false},  // origin
    PrivateMode{7, true},   // wrap at the margin
    PrivateMode{9, false},  // mouse, and all its ways
    PrivateMode{1000, false},
    PrivateMode{1001, false},
    PrivateMode{1002, false},
    PrivateMode{1003, false},
    PrivateMode{1004, false},  // focus
    PrivateMode{1005, false},
    PrivateMode{1006, false},
    PrivateMode{1015, false},
    PrivateMode{1016, false},
    PrivateMode{25, true},     // cursor
    PrivateMode{2004, false},  // bracketed paste
    PrivateMode{2026, false},  // synchronized update
    // Last: what is told after them would be told to the other screen.
    PrivateMode{47, false, true},
    PrivateMode{1047, false, true},
    PrivateMode{1049, false, true},
};
static_assert(kPrivateModes.size() <= 32);

constexpr int kMaxParameter = 65535;
constexpr int kMaxKeyFlags = 99;
constexpr char kBell = '\a';
// Both end whatever sequence is under way.
constexpr char kCancel = '\x18';
constexpr char kSubstitute = '\x1a';
constexpr char kEsc = '\x1b';

bool IsFinal(char c) { return c >= 0x40 && c <= 0x7e; }
bool IsIntermediate(char c) { return c >= 0x20 && c <= 0x2f; }

}  // namespace

bool ScreenModes::Watch(std::string_view output) {
  touched_ = false;
  while (!output.empty()) {
    if (state_ == State::kText) {  // the common case: nearly all of it
      const size_t escape = output.find(kEsc);
      const std::string_view text = output.substr(0, escape);
      if (!text.empty()) after_newline_ = text.back() == '\n';
      if (escape == std::string_view::npos) break;
      state_ = State::kEscape;
      output.remove_prefix(escape + 1);
      continue;
    }
    Take(output.front());
    output.remove_prefix(1);
  }
  return touched_;
}

void ScreenModes::Take(char c) {
  if (c == kCancel || c == kSubstitute) {
    state_ = State::kText;
    return;
  }
  switch (state_) {
    case State::kText:
      break;
    case State::kEscape:
      state_ = State::kText;
      if (c == kEsc) state_ = State::kEscape;
      if (c == '[') BeginSequence();
      if (c == '(') state_ = State::kCharset;
      // Strings: a title, a clipboard, an image.
      if (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_') state_ = State::kString;
      if (c == '=' || c == '>') {
        application_keypad_ = c == '=';
        touched_ = true;
      }
      if (c == 'c') Reset();
      break;
    case State::kCharset:
      line_drawing_ = c == '0';
      touched_ = true;
      state_ = State::kText;
      break;
    case State::kSequence:
      TakeInSequence(c);
      break;
    case State::kString:
      if (c == kBell) state_ = State::kText;
      if (c == kEsc) state_ = State::kStringEscape;
      break;
    case State::kStringEscape:
      state_ = State::kText;  // ESC \, or another sequence that cuts the string short
      if (c != '\\') {
        state_ = State::kEscape;
        Take(c);
      }
      break;
  }
}

void ScreenModes::BeginSequence() {
  state_ = State::kSequence;
  prefix_ = 0;
  intermediate_ = 0;
  parameters_.fill(0);
  count_ = 0;
}

void ScreenModes::TakeInSequence(char c) {
  if (c >= '0' && c <= '9') {
    if (count_ == 0) count_ = 1;
    if (count_ > parameters_.size()) return;
    int& parameter = parameters_[count_ - 1];
    parameter = std::min(parameter * 10 + (c - '0'), kMaxParameter);
  } else if (c == ';' || c == ':') {
    count_ = std::min(std::max<size_t>(count_, 1) + 1, parameters_.size() + 1);
  } else if (c >= '<' && c <= '?') {
    prefix_ = c;
  } else if (IsIntermediate(c)) {
    intermediate_ = c;
  } else if (IsFinal(c)) {
    state_ = State::kText;
    EndSequence(c);
  } else if (c == kEsc) {
    state_ = State::kEscape;
  }
  // Other control characters are obeyed by a terminal, and the sequence goes on.
}

void ScreenModes::EndSequence(char final_byte) {
  const size_t count = std::min(count_, parameters_.size());
  if (prefix_ == '?' && intermediate_ == 0 && (final_byte == 'h' || final_byte == 'l')) {
    for (size_t i = 0; i < count; ++i) {
      for (size_t mode = 0; mode < kPrivateModes.size(); ++mode) {
        if (kPrivateModes[mode].number != parameters_[i]) continue;
        changed_[mode] = (final_byte == 'h') != kPrivateModes[mode].on_at_first;
        touched_ = true;
      }
    }
    return;
  }
  const bool before_touched = touched_;
  touched_ = true;
  if (prefix_ == 0 && intermediate_ == 0 && final_byte == 'm') {
    const bool colored = count > 0 && parameters_[count - 1] != 0;
    touched_ = before_touched || colored != colored_;
    colored_ = colored;
  } else if (prefix_ == 0 && intermediate_ == 0 && final_byte == 'r') {
    margins_ = count > 0;
  } else if (prefix_ == 0 && intermediate_ == 0 && (final_byte == 'h' || final_byte == 'l')) {
    if (count > 0 && parameters_[0] == 4) insert_ = final_byte == 'h';
  } else if (intermediate_ == ' ' && final_byte == 'q') {
    cursor_shape_ = count > 0 && parameters_[0] != 0;
  } else if (intermediate_ == '!' && final_byte == 'p') {
    Reset();
  } else if (prefix_ == '>' && final_byte == 'm') {
    modified_keys_ = count > 1 && parameters_[0] == 4 && parameters_[1] != 0;
  } else if (prefix_ == '>' && final_byte == 'u') {
    key_flags_ = std::min(key_flags_ + 1, kMaxKeyFlags);
  } else if (prefix_ == '<' && final_byte == 'u') {
    key_flags_ = std::max(key_flags_ - std::max(count > 0 ? parameters_[0] : 1, 1), 0);
  } else {
    touched_ = before_touched;
  }
}

// A reset of the terminal itself, which may be soft and keep the screen.
void ScreenModes::Reset() {
  for (size_t mode = 0; mode < kPrivateModes.size(); ++mode) {
    if (!kPrivateModes[mode].alternate_screen) changed_[mode] = false;
  }
  application_keypad_ = margins_ = colored_ = line_drawing_ = insert_ = false;
  cursor_shape_ = modified_keys_ = false;
  touched_ = true;
}

std::string ScreenModes::Undo() const {
  std::string out;
  if (state_ == State::kString || state_ == State::kStringEscape) out += "\x1b\\";
  if (state_ == State::kEscape || state_ == State::kCharset || state_ == State::kSequence)
    out += kCancel;
  if (colored_) out += "\x1b[m";
  if (line_drawing_) out += "\x1b(B";
  if (insert_) out += "\x1b[4l";
  if (margins_)
    out +=
        "\x1b"
        "7\x1b[r\x1b"
        "8";  // which alone would move the cursor
  if (cursor_shape_) out += "\x1b[0 q";
  if (modified_keys_) out += "\x1b[>4m";
  if (key_flags_ > 0) out += fmt::format("\x1b[<{}u", key_flags_);
  if (application_keypad_) out += "\x1b>";
  for (size_t mode = 0; mode < kPrivateModes.size(); ++mode) {
    if (!changed_[mode]) continue;
    const PrivateMode& what = kPrivateModes[mode];
    out += fmt::format("\x1b[?{}{}", what.number, what.on_at_first ? 'h' : 'l');
  }
  return out;
}

bool ScreenModes::at_line_start() const {
  // Back on the main screen the cursor is where the program was started.
  for (size_t mode = 0; mode < kPrivateModes.size(); ++mode) {
    if (changed_[mode] && kPrivateModes[mode].alternate_screen) return true;
  }
  return after_newline_;
}

}  // namespace cleanroom::cli
