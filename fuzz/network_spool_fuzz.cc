// What the control plane reads of a spool that a warden has left: a piece's bytes, whole.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "os/file.h"
#include "server/network/network_decision.h"
#include "warden_link/network_spool.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const folder = new cleanroom::os::TempDir(*cleanroom::os::TempDir::Create());
  std::ofstream(folder->path() + "/network.spool", std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  cleanroom::warden_link::NetworkSpoolReader reader(folder->path());
  // Each call takes bytes, or ends a piece, or is the last.
  for (size_t calls = 0;; ++calls) {
    if (calls > size + 4) std::abort();
    auto record = reader.Next();
    if (!record) continue;
    if (!*record) break;
    const std::string line =
        cleanroom::server::AuditLine(cleanroom::SandboxId("sandbox"), **record);
    if (line.find('\n') != line.size() - 1) std::abort();
  }
  return 0;
}
