// Compression: how a message may be packed on its way. None is built in, for the guest agent's
// sake: programs that want gzip link rpc/gzip.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::rpc {

class Compression {
 public:
  virtual ~Compression() = default;
  // As it stands in headers: "gzip".
  virtual std::string_view name() const = 0;
  virtual std::string Pack(std::string_view bytes) const = 0;
  // kInvalidArgument: `bytes` is not that format, is cut short or goes on behind its end.
  // kResourceExhausted: more than `max_bytes` would come out; little more memory was used to see
  // it.
  virtual Result<std::string> Unpack(std::string_view bytes, size_t max_bytes) const = 0;
};

}  // namespace cleanroom::rpc
