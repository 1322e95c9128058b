// The process's heap (glibc's malloc), told to give back what is freed.
#pragma once

namespace cleanroom::os {

// For programs that run for long, work hard for moments and are many or idle in between. Call it
// before there is a second thread. After it:
//  - a block of half a MiB or more is a mapping of its own, which free(3) returns, always: left
//    alone, malloc raises that bound to the largest block freed so far, and such blocks stay;
//  - two arenas serve all threads, not eight for each processor.
void KeepHeapSmall();

}  // namespace cleanroom::os
