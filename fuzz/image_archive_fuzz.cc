// A tar that a user imports: which kind it is, its members and links, and the image in it, up to
// the store.
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "base/image_ref.h"
#include "image/archive.h"
#include "image/import.h"
#include "image/store.h"
#include "os/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::image;
  namespace fs = std::filesystem;
  const fs::path folder =
      fs::temp_directory_path() / ("cleanroom-archive-fuzz." + std::to_string(::getpid()));
  Limits limits;
  limits.max_unpacked_bytes = 4 << 20;
  limits.expansion_floor = 1 << 20;
  limits.max_entries = 10'000;
  cleanroom::os::UniqueFd file(::memfd_create("archive", MFD_CLOEXEC));
  if (!cleanroom::os::PwriteAll(file.get(), {data, size}, 0)) __builtin_trap();
  {
    const auto store = ImageStore::Open(folder);
    if (!store) __builtin_trap();
    const auto record =
        Import(*store, *cleanroom::ImageRef::Parse("localhost/fuzz:v"), file.get(), limits, {});
    if (record && !store->Find(record->digest)) __builtin_trap();
    for (const char* half : {"tmp", "locks"}) {
      if (!fs::is_empty(folder / half)) __builtin_trap();  // whatever happened
    }
  }
  fs::remove_all(folder);
  return 0;
}
