#include "cli/terminal/screen_modes.h"

#include <gtest/gtest.h>

#include <string>

namespace cleanroom::cli {
namespace {

std::string UndoOf(std::string_view output) {
  ScreenModes whole;
  whole.Watch(output);
  ScreenModes cut;
  for (const char c : output) cut.Watch(std::string_view(&c, 1));
  EXPECT_EQ(whole.Undo(), cut.Undo());
  EXPECT_EQ(whole.at_line_start(), cut.at_line_start());
  return whole.Undo();
}

TEST(ScreenModesTest, PlainOutputLeavesNothingToUndo) {
  EXPECT_EQ(UndoOf("hello\r\nwörld \x1b[31mred\x1b[0m\x1b[2J\x1b[H\x1b[10;3H\x1b[K\a\b"), "");
}

TEST(ScreenModesTest, WhatAFullScreenProgramSwitchesOnIsSwitchedOff) {
  // vim's beginning, in short.
  EXPECT_EQ(UndoOf("\x1b[?1049h\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[1;24r\x1b[?12h\x1b[?25l"),
            "\x1b"
            "7\x1b[r\x1b"
            "8\x1b[>4m\x1b>\x1b[?1l\x1b[?25h\x1b[?2004l\x1b[?1049l");
}

TEST(ScreenModesTest, WhatTheProgramSwitchedOffItselfIsLeftAlone) {
  EXPECT_EQ(UndoOf("\x1b[?1049h\x1b[?1000;1006h\x1b[?25l\x1b(0\x1b[4h\x1b[3 q\x1b[>1u"
                   "\x1b[<u\x1b[0 q\x1b[4l\x1b(B\x1b[?25h\x1b[?1006;1000l\x1b[?1049l"),
            "");
}

TEST(ScreenModesTest, ResetsCount) {
  EXPECT_EQ(UndoOf("\x1b[?25l\x1b[31m\x1b=\x1b"
                   "c"),
            "");
  EXPECT_EQ(UndoOf("\x1b[?25l\x1b[?1049h\x1b[!p"), "\x1b[?1049l");
}

TEST(ScreenModesTest, TextInStringsIsNoSequence) {
  EXPECT_EQ(UndoOf("\x1b]0;title [?25l\a"), "");
  EXPECT_EQ(UndoOf("\x1bP1$r[?1049h\x1b\\"), "");
  EXPECT_EQ(UndoOf("\x1b]0;a\x1b[?25l"), "\x1b[?25h");  // cut short by another
}

TEST(ScreenModesTest, WhatWasCutIsEnded) {
  EXPECT_EQ(UndoOf("\x1b[?25l\x1b[12;"), "\x18\x1b[?25h");
  EXPECT_EQ(UndoOf("\x1b]0;half a title"), "\x1b\\");
}

TEST(ScreenModesTest, KnowsWhereTheCursorStands) {
  ScreenModes modes;
  EXPECT_TRUE(modes.at_line_start());
  modes.Watch("$ ");
  EXPECT_FALSE(modes.at_line_start());
  modes.Watch("ls\r\nfile\r\n\x1b[0m");
  EXPECT_TRUE(modes.at_line_start());
  modes.Watch("$ ");
  modes.Watch("\x1b[?1049hanything");
  EXPECT_TRUE(modes.at_line_start());
}

TEST(ScreenModesTest, TellsWhenItChanges) {
  ScreenModes modes;
  EXPECT_FALSE(modes.Watch("text\x1b[2J"));
  EXPECT_TRUE(modes.Watch("\x1b[?25l"));
  EXPECT_FALSE(modes.Watch("text"));
  EXPECT_TRUE(modes.Watch("\x1b[31m"));
  EXPECT_FALSE(modes.Watch("\x1b[32m"));
}

TEST(ScreenModesTest, UndoIsBounded) {
  std::string all = "\x1b[31m\x1b(0\x1b[4h\x1b[1;2r\x1b[3 q\x1b[>4;1m\x1b=";
  for (int i = 0; i < 200; ++i) all += "\x1b[>1u";
  for (int mode = 0; mode < 3000; ++mode) {
    all += "\x1b[?" + std::to_string(mode) + (mode == 7 || mode == 25 ? "l" : "h");
  }
  const std::string undo = UndoOf(all + "\x1b]");
  EXPECT_LE(undo.size(), ScreenModes::kMaxUndo);
  EXPECT_EQ(UndoOf(all + undo), "");
  EXPECT_EQ(UndoOf("\x1b[?" + std::string(1000, ';') + "25l\x1b[?99999999999999999999h"), "");
}

}  // namespace
}  // namespace cleanroom::cli
