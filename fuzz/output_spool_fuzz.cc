// What the control plane reads of a command's output that a warden has left: whole frames, each
// behind the one before.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "cleanroom/internal/v1/warden.pb.h"
#include "os/file.h"
#include "warden_link/spool.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::warden_link;  // NOLINT
  static const auto* const folder = new cleanroom::os::TempDir(*cleanroom::os::TempDir::Create());
  const std::string file = folder->path() + "/output.log";
  std::ofstream(file, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  auto reader = SpoolReader::Open(file);
  if (!reader) return 0;
  int64_t offset = kSpoolStart;
  while (true) {
    const auto frame = reader->Next();
    if (!frame || !*frame) return 0;
    if ((*frame)->payload.size() > kMaxFrameBytes) std::abort();
    if ((*frame)->next_offset <= offset) std::abort();
    offset = (*frame)->next_offset;
    cleanroom::internal::v1::ExecutionEnd end;
    if ((*frame)->kind == FrameKind::kEnd) (void)end.ParseFromString((*frame)->payload);
  }
}
