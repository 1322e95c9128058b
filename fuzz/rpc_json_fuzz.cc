// JSON bodies of the API. What was read and is written must be readable as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cleanroom/v1/execution.pb.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "rpc/json/json_codec.h"

namespace {

template <typename T>
void Check(std::string_view input) {
  const cleanroom::rpc::Codec& json = cleanroom::rpc::JsonCodec();
  T read;
  if (!json.Decode(input, read)) return;
  std::string written;
  if (!json.Append(read, written)) return;  // e.g. a time that JSON cannot say
  T again;
  if (!json.Decode(written, again)) std::abort();
  if (again.SerializeAsString() != read.SerializeAsString()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  Check<cleanroom::v1::CreateSandboxRequest>(input);
  Check<cleanroom::v1::CreateExecutionRequest>(input);
  Check<cleanroom::v1::ExecutionStreamEvent>(input);
  return 0;
}
