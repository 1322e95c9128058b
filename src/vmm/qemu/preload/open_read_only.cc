// Preloaded into QEMU when it runs a copy of a template: opens the template's memory read-only.
//
// QEMU maps that file privately, so it never writes to it, but QEMU before 8.2 opens it for writing
// all the same. A machine monitor that a guest has taken over must not be able to write to memory
// that other sandboxes start from: there the file lies on a read-only mount, where opening it for
// writing fails. This makes QEMU ask for what it needs. It protects nothing itself.
//
// Freestanding but for libc; the file is named by the variable CLEANROOM_READ_ONLY.
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

int Open(const char* path, int flags, mode_t mode) {
  const char* const wanted = getenv("CLEANROOM_READ_ONLY");
  if (wanted != nullptr && (flags & O_ACCMODE) == O_RDWR && strcmp(path, wanted) == 0) {
    flags = (flags & ~O_ACCMODE) | O_RDONLY;
  }
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

mode_t Mode(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

// The names under which glibc offers open(2); the last two are for calls that were compiled with
// _FORTIFY_SOURCE and create nothing.
extern "C" [[gnu::visibility("default")]] int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = Mode(flags, arguments);
  va_end(arguments);
  return Open(path, flags, mode);
}

extern "C" [[gnu::visibility("default")]] int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = Mode(flags, arguments);
  va_end(arguments);
  return Open(path, flags, mode);
}

extern "C" [[gnu::visibility("default")]] int __open_2(const char* path, int flags) {  // NOLINT
  return Open(path, flags, 0);
}

extern "C" [[gnu::visibility("default")]] int __open64_2(const char* path, int flags) {  // NOLINT
  return Open(path, flags, 0);
}
