#include "rpc/codec.h"

#include <google/protobuf/message_lite.h>

#include <limits>

namespace cleanroom::rpc {
namespace {

class Binary final : public Codec {
 public:
  std::string_view name() const override { return "proto"; }

  Result<void> Append(const Message& message, std::string& out) const override {
    if (!message.AppendPartialToString(&out)) {
      return Err(ErrorCode::kInternal,
                 "a message of " + message.GetTypeName() + " cannot be encoded");
    }
    return {};
  }

  Result<void> Decode(std::string_view bytes, Message& out) const override {
    if (bytes.size() > std::numeric_limits<int>::max() ||
        !out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return Err(ErrorCode::kInvalidArgument, "the body is no binary " + out.GetTypeName());
    }
    return {};
  }
};

}  // namespace

const Codec& BinaryCodec() {
  static const Binary codec;
  return codec;
}

}  // namespace cleanroom::rpc
