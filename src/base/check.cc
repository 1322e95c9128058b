#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace cleanroom {

void CheckFailed(const char* file, int line, const char* condition, std::string_view text) {
  std::fprintf(stderr, "%s:%d: check failed: %s: %.*s\n", file, line, condition,
               static_cast<int>(text.size()), text.data());
  std::fflush(stderr);
  std::abort();
}

}  // namespace cleanroom
