// What a guest writes to its console, in two pieces, stays bounded and comes out printable.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "os/file.h"
#include "vmm/console_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto dir = cleanroom::os::TempDir::Create();
  if (!dir) return 0;
  auto log = cleanroom::vmm::ConsoleLog::Create(dir->path() + "/log", 1024);
  if (!log) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)log->Append(text.substr(0, size / 2));
  (void)log->Append(text.substr(size / 2));
  for (const char c : log->LastLines(50) + log->panic().value_or("")) {
    if (c == '\x1b' || c == '\x7f' || (c >= 0 && c < 0x20 && c != '\n' && c != '\t')) abort();
  }
  return 0;
}
