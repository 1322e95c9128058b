#include "rpc/codec.h"

#include <google/protobuf/message_lite.h>

#include <limits>

namespace cleanroom::rpc {
namespace {

class Binary final : public Codec {
 public:
  std::string_view name() const override { return "proto"; }

  Result<void> Append(const Message& message, std::string& out) const override {
    const size_t place = out.size();
    const size_t size = message.ByteSizeLong();
    if (size > std::numeric_limits<int>::max()) {
      return Err(ErrorCode::kInternal,
                 "a message of " + message.GetTypeName() + " cannot be encoded");
    }
    // Protobuf's own way of appending writes zeros first. (The second argument is not always the
    // size that was asked for: GCC 12.)
    out.resize_and_overwrite(place + size, [&](char* data, size_t) {
      message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(data) + place);
      return place + size;
    });
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
