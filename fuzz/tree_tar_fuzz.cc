// A tar on its way into a folder. The first byte is the size of the pieces it comes in.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/file.h"
#include "tree/names.h"
#include "tree/unpacker.h"

namespace {

using cleanroom::os::OpenDir;
using cleanroom::os::TempDir;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = data[0] == 0 ? size : size_t{data[0]} * 37;
  const std::string_view tar(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto folder = TempDir::Create();
  if (!folder || mkdir((folder->path() + "/in").c_str(), 0700) != 0) __builtin_trap();
  auto into = OpenDir(folder->path() + "/in");
  if (!into) __builtin_trap();
  {
    cleanroom::tree::Unpacker unpacker(std::move(*into), {.permissions = 0777, .max_entries = 200});
    bool whole = true;
    for (size_t at = 0; at < tar.size() && whole; at += piece) {
      whole = unpacker.Feed(tar.substr(at, piece)).has_value();
    }
    if (whole) (void)unpacker.Finish();
  }
  const auto top = OpenDir(folder->path());
  const auto names = cleanroom::tree::SortedNames(top->get(), 100);
  if (!names || *names != std::vector<std::string>{"in"}) __builtin_trap();
  return 0;
}
