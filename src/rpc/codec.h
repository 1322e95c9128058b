// Codec: how messages become bytes. Binary is built in; JSON needs the full protobuf runtime, so it
// lives in its own library (rpc/json) and only programs that want it link it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "rpc/service.h"

namespace cleanroom::rpc {

class Codec {
 public:
  virtual ~Codec() = default;
  // "proto" or "json": the suffix in content types.
  virtual std::string_view name() const = 0;
  // Appends the encoded message to `out`.
  virtual Result<void> Append(const Message& message, std::string& out) const = 0;
  Result<std::string> Encode(const Message& message) const {
    std::string out;
    CR_TRY(Append(message, out));
    return out;
  }
  // kInvalidArgument when `bytes` is no such message.
  virtual Result<void> Decode(std::string_view bytes, Message& out) const = 0;
};

const Codec& BinaryCodec();

}  // namespace cleanroom::rpc
