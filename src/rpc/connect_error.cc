#include "rpc/connect_error.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/text_coding.h"
#include "document/bounded_json.h"
#include "rpc/status.h"

namespace cleanroom::rpc {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 16;

std::optional<Json> Parse(std::string_view text) {
  Json parsed =
      document::ParseBoundedJson(text, {.max_bytes = kMaxErrorJson, .max_depth = kMaxDepth});
  if (!parsed.is_object()) return std::nullopt;
  return parsed;
}

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json ToJson(const Error& error) {
  Json detail = {{"type", kDetailType},
                 {"value", Base64Encode(EncodeDetail(error), Padding::kNone)}};
  return {{"code", ConnectName(ToRpcCode(error.code()))},
          {"message", error.ToString()},
          {"details", Json::array({std::move(detail)})}};
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Nothing when the object has no code of the protocol.
std::optional<Error> FromJson(const Json& object) {
  const auto code = FromConnectName(Text(object, "code"));
  if (!code) return std::nullopt;
  std::optional<std::string> detail;
  const auto details = object.find("details");
  if (details != object.end() && details->is_array()) {
    for (const Json& entry : *details) {
      if (entry.is_object() && Text(entry, "type") == kDetailType)
        detail = Base64Decode(Text(entry, "value"));
    }
  }
  return FromWire(*code, Text(object, "message"), detail);
}

}  // namespace

std::string ConnectErrorJson(const Error& error) { return Dump(ToJson(error)); }

Error ParseConnectError(std::string_view json, int http_status) {
  if (const auto parsed = Parse(json)) {
    if (auto error = FromJson(*parsed)) return std::move(*error);
  }
  return FromWire(FromHttpStatus(http_status),
                  fmt::format("the server answered HTTP {}", http_status), {});
}

std::string ConnectEndJson(const Result<void>& outcome) {
  if (outcome) return "{}";
  return Dump({{"error", ToJson(outcome.error())}});
}

Result<void> ParseConnectEnd(std::string_view json) {
  const auto parsed = Parse(json);
  if (!parsed) return Err(ErrorCode::kInternal, "the server ended the stream with malformed JSON");
  const auto found = parsed->find("error");
  if (found == parsed->end() || found->is_null()) return {};
  std::optional<Error> error;
  if (found->is_object()) error = FromJson(*found);
  if (!error)
    return Err(ErrorCode::kInternal, "the server ended the stream with a malformed error");
  return Err(std::move(*error));
}

}  // namespace cleanroom::rpc
