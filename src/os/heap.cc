#include "os/heap.h"

#include <malloc.h>

namespace cleanroom::os {
namespace {

constexpr int kOwnMappingBytes = 512 << 10;
constexpr int kKeptTopBytes = 512 << 10;  // free at the heap's end before that is cut off
constexpr int kArenas = 2;

}  // namespace

void KeepHeapSmall() {
  (void)mallopt(M_MMAP_THRESHOLD, kOwnMappingBytes);
  (void)mallopt(M_TRIM_THRESHOLD, kKeptTopBytes);
  (void)mallopt(M_ARENA_MAX, kArenas);
}

}  // namespace cleanroom::os
