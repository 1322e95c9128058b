#include "vmm/qemu/preload/threads.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cleanroom::vmm {
namespace {

// Tries to stop all threads while some are just starting or ending.
constexpr int kStopAttempts = 200;
// glibc's real-time signals begin at 34; QEMU uses none.
constexpr int kStopSignal = 62;

enum State : int { kFree, kStarting, kRunning, kEnding };

struct Thread {
  int state;
  pid_t tid;
  void* (*start)(void*);
  void* argument;
  // Set by its signal handler.
  void* registers[5];  // of __builtin_setjmp
  char* self;          // the thread's control block, which is also its TLS base
  void* robust_list;
  alignas(16) char stack[2048];  // for the fork's first steps
};

Thread threads[kMaxThreads];
__thread Thread* me __attribute__((tls_model("initial-exec")));
pthread_key_t ending_key;
int stopped;        // threads that stand in their handler
int generation;     // of the stop that is under way; they go on when it changes
size_t tid_offset;  // of the thread id in glibc's struct pthread
// Whether threads are listed: in the held process, and not in a fork of it.
bool listed;

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int Futex(int* word, int operation, int value) {
  return static_cast<int>(syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, nullptr));
}

char* Self() {
  char* self;
  asm("mov %%fs:0, %0" : "=r"(self));
  return self;
}

// Whether the thread has ended and left the list. Until the kernel knows it no more it may be
// holding glibc's locks.
bool Forget(Thread* thread) {
  if (syscall(SYS_tgkill, getpid(), thread->tid, 0) == 0) return false;
  int ending = kEnding;
  return __atomic_compare_exchange_n(&thread->state, &ending, kFree, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

Thread* Claim() {
  for (Thread& thread : threads) {
    if (__atomic_load_n(&thread.state, __ATOMIC_SEQ_CST) == kEnding) Forget(&thread);
    int free = kFree;
    if (__atomic_compare_exchange_n(&thread.state, &free, kStarting, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
      return &thread;
    }
  }
  return nullptr;
}

void Register(Thread* thread) {
  me = thread;
  thread->tid = gettid();
  pthread_setspecific(ending_key, thread);
  __atomic_store_n(&thread->state, kRunning, __ATOMIC_SEQ_CST);
}

void Ending(void* thread) {
  __atomic_store_n(&static_cast<Thread*>(thread)->state, kEnding, __ATOMIC_SEQ_CST);
}

void* Begin(void* argument) {
  auto* const thread = static_cast<Thread*>(argument);
  Register(thread);
  return thread->start(thread->argument);
}

// Stands still until the stop is over. In a fork the thread arrives here anew.
[[gnu::noinline]] void OnStop(int) {
  const int saved_errno = errno;
  Thread* const thread = me;
  const int mine = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
  size_t length = 0;
  syscall(SYS_get_robust_list, 0, &thread->robust_list, &length);
  thread->self = Self();
  if (__builtin_setjmp(thread->registers) == 0) {
    __atomic_add_fetch(&stopped, 1, __ATOMIC_SEQ_CST);
    Futex(&stopped, FUTEX_WAKE, 1);
    while (__atomic_load_n(&generation, __ATOMIC_SEQ_CST) == mine) {
      Futex(&generation, FUTEX_WAIT, mine);
    }
  } else {
    syscall(SYS_set_robust_list, me->robust_list, 3 * sizeof(void*));
    if (__rseq_size != 0) {
      auto* const area = reinterpret_cast<struct rseq*>(Self() + __rseq_offset);
      area->cpu_id = static_cast<uint32_t>(RSEQ_CPU_ID_UNINITIALIZED);
      area->rseq_cs = 0;
      syscall(SYS_rseq, area, sizeof *area, 0, RSEQ_SIG);
    }
  }
  errno = saved_errno;
}

// Whether every thread but this one stands in its handler; otherwise they run on.
bool StopOnce() {
  __atomic_store_n(&stopped, 0, __ATOMIC_SEQ_CST);
  int told = 0;
  bool whole = true;
  for (Thread& thread : threads) {
    if (&thread == me) continue;
    const int state = __atomic_load_n(&thread.state, __ATOMIC_SEQ_CST);
    if (state == kStarting) whole = false;
    if (state == kEnding && !Forget(&thread)) whole = false;
    if (state != kRunning) continue;
    if (syscall(SYS_tgkill, getpid(), thread.tid, kStopSignal) == 0) {
      ++told;
    } else {
      whole = false;
    }
  }
  for (;;) {
    const int now = __atomic_load_n(&stopped, __ATOMIC_SEQ_CST);
    if (now == told) break;
    Futex(&stopped, FUTEX_WAIT, now);
  }
  // One that began, or has begun to end, in between.
  for (Thread& thread : threads) {
    const int state = __atomic_load_n(&thread.state, __ATOMIC_SEQ_CST);
    if (state == kStarting || state == kEnding) whole = false;
    if (state == kRunning && &thread != me) --told;
  }
  if (told != 0) whole = false;
  if (!whole) ReleaseThreads();
  return whole;
}

[[noreturn, gnu::noinline]] void GoOn(Thread* thread) { __builtin_longjmp(thread->registers, 1); }

// Makes the thread anew in a fork, under the control block that it has there.
bool Remake(Thread* thread) {
  constexpr unsigned long kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                   CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                                   CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  auto* const tid = reinterpret_cast<pid_t*>(thread->self + tid_offset);
  register void* r10 asm("r10") = tid;
  register void* r8 asm("r8") = thread->self;
  register void* r12 asm("r12") = thread;
  register void (*r13)(Thread*) asm("r13") = GoOn;
  long result = SYS_clone;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r12, %%rdi\n\t"
      "call *%%r13\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(kFlags), "S"(thread->stack + sizeof thread->stack), "d"(tid), "r"(r10), "r"(r8),
        "r"(r12), "r"(r13)
      : "rcx", "r11", "memory");
  if (result < 0) return false;
  thread->tid = static_cast<pid_t>(result);
  return true;
}

}  // namespace

void ReleaseThreads() {
  __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST);
  Futex(&generation, FUTEX_WAKE, kMaxThreads);
}

bool StopThreads() {
  for (int attempt = 0; attempt < kStopAttempts; ++attempt) {
    if (StopOnce()) return true;
    usleep(100);
  }
  return false;
}

pid_t* OwnThreadId() { return reinterpret_cast<pid_t*>(Self() + tid_offset); }

bool RemakeThreads() {
  listed = false;
  for (Thread& thread : threads) {
    if (thread.state == kRunning && &thread != me && !Remake(&thread)) return false;
  }
  return true;
}

void ListThreads() {
  listed = true;
  const pid_t tid = gettid();
  for (tid_offset = sizeof(void*); tid_offset < 2048; tid_offset += sizeof(pid_t)) {
    if (memcmp(Self() + tid_offset, &tid, sizeof tid) == 0) break;
  }
  struct sigaction action = {};
  action.sa_handler = OnStop;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  sigaction(kStopSignal, &action, nullptr);
  pthread_key_create(&ending_key, Ending);
  Register(Claim());
}

bool StartSilentThread(void* (*start)(void*)) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  const auto mask = Next<int(int, const sigset_t*, sigset_t*)>("pthread_sigmask");
  mask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, start, nullptr);
  mask(SIG_SETMASK, &before, nullptr);
  return error == 0;
}

// --- What QEMU calls, in place of libc's --------------------------------------------------------

extern "C" [[gnu::visibility("default")]] int pthread_create(pthread_t* out,
                                                             const pthread_attr_t* attributes,
                                                             void* (*start)(void*),
                                                             void* argument) {
  static const auto next =
      Next<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create");
  if (!listed) return next(out, attributes, start, argument);
  Thread* const thread = Claim();
  if (thread == nullptr) return EAGAIN;
  thread->start = start;
  thread->argument = argument;
  const int error = next(out, attributes, Begin, thread);
  if (error != 0) __atomic_store_n(&thread->state, kFree, __ATOMIC_SEQ_CST);
  return error;
}

// QEMU blocks every signal in its threads.
extern "C" [[gnu::visibility("default")]] int pthread_sigmask(int how, const sigset_t* set,
                                                              sigset_t* before) noexcept {
  static const auto next = Next<int(int, const sigset_t*, sigset_t*)>("pthread_sigmask");
  if (set == nullptr || how == SIG_UNBLOCK) return next(how, set, before);
  sigset_t fewer = *set;
  sigdelset(&fewer, kStopSignal);
  return next(how, &fewer, before);
}

extern "C" [[gnu::visibility("default")]] int sigprocmask(int how, const sigset_t* set,
                                                          sigset_t* before) noexcept {
  const int error = pthread_sigmask(how, set, before);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

}  // namespace cleanroom::vmm
