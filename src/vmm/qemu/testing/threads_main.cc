// Stands in for a held QEMU (fork_test.cc): for each byte that it reads as its agent's end, it
// starts and ends more threads than a list of them holds, and writes a byte: 'y', or 'n' when it
// could not.
#include <pthread.h>
#include <unistd.h>

#include "vmm/qemu/descriptors.h"

namespace {

constexpr int kThreads = 500;

void* Nothing(void*) { return nullptr; }

bool StartAndEndThreads() {
  for (int i = 0; i < kThreads; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, Nothing, nullptr) != 0) return false;
    if (pthread_join(thread, nullptr) != 0) return false;
  }
  return true;
}

}  // namespace

int main() {
  char byte;
  while (read(cleanroom::vmm::kQemuAgentFd, &byte, 1) == 1) {
    byte = StartAndEndThreads() ? 'y' : 'n';
    if (write(cleanroom::vmm::kQemuAgentFd, &byte, 1) != 1) return 1;
  }
  return 0;
}
