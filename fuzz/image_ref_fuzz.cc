// Image references: what is accepted has one normal form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/image_ref.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using cleanroom::ImageRef;
  const auto ref = ImageRef::Parse({reinterpret_cast<const char*>(data), size});
  if (!ref) return 0;
  const auto again = ImageRef::Parse(ref->ToString());
  if (!again || *again != *ref) abort();
  return 0;
}
