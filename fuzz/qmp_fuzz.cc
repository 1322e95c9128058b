// QEMU's monitor says what the fuzzer says.
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "os/file.h"
#include "os/socket.h"
#include "vmm/qemu/qmp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 100'000) return 0;  // what fits the socket's buffer
  auto pair = cleanroom::os::SocketPair();
  if (!pair) return 0;
  (void)cleanroom::os::WriteAll(pair->second.get(), {reinterpret_cast<const char*>(data), size},
                                "input");
  shutdown(pair->second.get(), SHUT_WR);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  cleanroom::vmm::Qmp qmp(std::move(pair->first));
  if (qmp.Handshake(deadline)) (void)qmp.Call("query-status", "{}", deadline);
  return 0;
}
