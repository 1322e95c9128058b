#include "rpc/json/json_codec.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

namespace cleanroom::rpc {
namespace {

namespace pb = google::protobuf;

class Json final : public Codec {
 public:
  std::string_view name() const override { return "json"; }

  Result<void> Append(const Message& message, std::string& out) const override {
    const auto* full = dynamic_cast<const pb::Message*>(&message);
    if (full == nullptr) return NoReflection(message);
    std::string json;
    const auto status = pb::util::MessageToJsonString(*full, &json);
    if (!status.ok()) {
      return Err(ErrorCode::kInternal, message.GetTypeName() + " cannot be written as JSON: " +
                                           std::string(status.message()));
    }
    out.append(json);
    return {};
  }

  Result<void> Decode(std::string_view bytes, Message& out) const override {
    auto* full = dynamic_cast<pb::Message*>(&out);
    if (full == nullptr) return NoReflection(out);
    pb::util::JsonParseOptions options;
    options.ignore_unknown_fields = true;
    const auto status =
        pb::util::JsonStringToMessage(pb::StringPiece(bytes.data(), bytes.size()), full, options);
    if (!status.ok()) {
      return Err(ErrorCode::kInvalidArgument, "the body is no JSON of " + out.GetTypeName() + ": " +
                                                  std::string(status.message()));
    }
    return {};
  }

 private:
  static std::unexpected<Error> NoReflection(const Message& message) {
    return Err(ErrorCode::kUnimplemented, message.GetTypeName() + " has no JSON form");
  }
};

}  // namespace

const Codec& JsonCodec() {
  static const Json codec;
  return codec;
}

}  // namespace cleanroom::rpc
