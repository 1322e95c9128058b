// All threads of this process, stopped and, in a fork of it, made anew.
//
// fork(2) copies the calling thread only. So every thread is stopped in a signal handler first,
// which keeps its registers and its place in the C library's structures; the fork makes them anew
// and lets each return from its handler. System calls that the signal interrupted are repeated or
// return EINTR, as the same signal has them do in the process that is forked. (DMTCP does it
// alike.)
//
// To know its threads it takes the place of libc's pthread_create, and to reach them that of
// pthread_sigmask and sigprocmask. Freestanding but for libc; nothing here allocates memory, for a
// stopped thread may hold the allocator's lock.
#pragma once

#include <sys/types.h>

namespace cleanroom::vmm {

inline constexpr int kMaxThreads = 128;

// Once, by the process's first thread while it is the only one.
void ListThreads();
// Starts a thread that no signal of the process's is delivered to.
bool StartSilentThread(void* (*start)(void*));

// Whether all threads but the caller stand still now. Each time ReleaseThreads lets them go on.
bool StopThreads();
void ReleaseThreads();

// Where libc keeps the caller's thread id: a fork writes its new one there.
pid_t* OwnThreadId();
// In a fork that was made while they stood still: they run, beside the caller. False when one could
// not be made; the process is then fit for nothing. Threads are no longer listed.
bool RemakeThreads();

}  // namespace cleanroom::vmm
