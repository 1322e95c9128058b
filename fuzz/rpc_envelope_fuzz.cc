// Envelopes and the outcomes of calls, as a hostile peer sends them. The first byte chooses how the
// bytes are cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rpc/connect_error.h"
#include "rpc/envelope.h"
#include "rpc/grpc_status.h"
#include "rpc/protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::rpc;  // NOLINT
  constexpr size_t kLimit = 4096;
  if (size < 1) return 0;
  const size_t step = data[0] + size_t{1};
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  EnvelopeReader reader(kLimit);
  for (size_t i = 0; i < input.size(); i += step) {
    reader.Input().append(input.substr(i, step));
    while (true) {
      const auto next = reader.Next();
      if (!next || !*next) break;
      if ((*next)->payload.size() > kLimit) std::abort();
      (void)ParseConnectEnd((*next)->payload);
      (void)ParseGrpcTrailers(ParseWebTrailers((*next)->payload));
    }
  }
  (void)ParseConnectError(input, 500);
  (void)ParseContentType(input);
  (void)ParseTimeout(Framing::kGrpc, {{"grpc-timeout", std::string(input)}});
  (void)ParseTimeout(Framing::kConnectUnary, {{"connect-timeout-ms", std::string(input)}});
  return 0;
}
