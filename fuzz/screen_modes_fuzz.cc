// What a program in a sandbox writes to the user's terminal. However it is cut, the same is to be
// undone; and undoing it leaves nothing to undo.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/terminal/screen_modes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using cleanroom::cli::ScreenModes;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  ScreenModes whole;
  whole.Watch(input);
  ScreenModes cut;
  for (const char c : input) cut.Watch(std::string_view(&c, 1));
  const std::string undo = whole.Undo();
  if (undo != cut.Undo() || whole.at_line_start() != cut.at_line_start()) std::abort();
  if (undo.size() > ScreenModes::kMaxUndo) std::abort();
  whole.Watch(undo);
  if (!whole.Undo().empty()) std::abort();
  return 0;
}
