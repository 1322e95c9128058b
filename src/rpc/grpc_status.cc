#include "rpc/grpc_status.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

#include "base/text_coding.h"
#include "base/utf8.h"
#include "cleanroom/v1/error.pb.h"
#include "rpc/status.h"

namespace cleanroom::rpc {
namespace {

constexpr std::string_view kTypePrefix = "type.googleapis.com/";

}  // namespace

http::Headers GrpcTrailers(const Result<void>& outcome) {
  if (outcome) return {{"grpc-status", "0"}};
  const Error& error = outcome.error();
  const auto code = static_cast<int>(ToRpcCode(error.code()));
  v1::Status status;
  status.set_code(code);
  status.set_message(ToValidUtf8(error.ToString()));
  auto* detail = status.add_details();
  detail->set_type_url(std::string(kTypePrefix) + std::string(kDetailType));
  detail->set_value(EncodeDetail(error));
  return {{"grpc-status", fmt::format("{}", code)},
          {"grpc-message", PercentEncode(error.ToString())},
          {"grpc-status-details-bin", Base64Encode(status.SerializeAsString(), Padding::kNone)}};
}

Result<void> ParseGrpcTrailers(const http::Headers& trailers) {
  const std::string_view text = http::FindHeader(trailers, "grpc-status");
  int code = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (problem != std::errc() || end != text.data() + text.size() || code < 0) {
    return Err(ErrorCode::kInternal, "the server ended the call without a grpc-status");
  }
  if (code == 0) return {};
  std::optional<std::string> detail;
  const auto bytes = Base64Decode(http::FindHeader(trailers, "grpc-status-details-bin"));
  v1::Status status;
  if (bytes && status.ParseFromString(*bytes)) {
    for (const auto& any : status.details()) {
      if (any.type_url().ends_with("/" + std::string(kDetailType))) detail = any.value();
    }
  }
  const auto known = code <= static_cast<int>(RpcCode::kUnauthenticated)
                         ? static_cast<RpcCode>(code)
                         : RpcCode::kUnknown;
  return Err(FromWire(known, PercentDecode(http::FindHeader(trailers, "grpc-message")), detail));
}

std::string WebTrailers(const http::Headers& trailers) {
  std::string out;
  for (const auto& [name, value] : trailers) out += fmt::format("{}: {}\r\n", name, value);
  return out;
}

http::Headers ParseWebTrailers(std::string_view payload) {
  http::Headers out;
  while (!payload.empty()) {
    const size_t end = payload.find("\r\n");
    const std::string_view line = payload.substr(0, end);
    payload.remove_prefix(end == std::string_view::npos ? payload.size() : end + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    out.emplace_back(std::move(name), std::string(value));
  }
  return out;
}

}  // namespace cleanroom::rpc
