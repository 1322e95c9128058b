#include "os/heap.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace cleanroom::os {
namespace {

size_t ResidentBytes() {
  long pages = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
  if (file != nullptr) std::fclose(file);
  return static_cast<size_t>(pages) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// What stays of growing buffers of up to 24 MiB, the later ones freed before small ones that were
// made behind them.
size_t Left() {
  const size_t before = ResidentBytes();
  std::vector<std::string> small;
  for (int round = 0; round < 3; ++round) {
    std::string big;
    for (size_t bytes = 1 << 20; bytes <= 24 << 20; bytes += 1 << 20) big.resize(bytes, 'x');
    small.emplace_back(100'000, 'y');
  }
  const size_t after = ResidentBytes();
  return after > before ? after - before : 0;
}

// In a child, because it is for the whole process.
TEST(HeapTest, LargeBlocksAreGivenBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer brings its own malloc";
#endif
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    KeepHeapSmall();
    _exit(Left() < 4 << 20 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace cleanroom::os
