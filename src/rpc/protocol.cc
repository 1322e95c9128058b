#include "rpc/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace cleanroom::rpc {
namespace {

using std::chrono::nanoseconds;

struct TypeRow {
  std::string_view prefix;  // before "proto" or "json"
  Framing framing;
};

constexpr std::array<TypeRow, 5> kTypes = {{
    {"application/connect+", Framing::kConnectStream},
    {"application/grpc-web-text+", Framing::kGrpcWebText},
    {"application/grpc-web+", Framing::kGrpcWeb},
    {"application/grpc+", Framing::kGrpc},
    {"application/", Framing::kConnectUnary},
}};

bool SameIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return (x >= 'A' && x <= 'Z' ? x - 'A' + 'a' : x) == (y >= 'A' && y <= 'Z' ? y - 'A' + 'a' : y);
  });
}

std::string_view Trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

// At most `max_digits` decimal digits.
std::optional<int64_t> ParseDigits(std::string_view text, size_t max_digits) {
  int64_t value = 0;
  if (text.empty() || text.size() > max_digits) return std::nullopt;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<nanoseconds> ParseGrpcTimeout(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const auto value = ParseDigits(text.substr(0, text.size() - 1), 8);
  if (!value) return std::nullopt;
  switch (text.back()) {
    case 'H':
      // The largest value of 8 digits would overflow; ten years stand for ever.
      return std::chrono::hours(std::min<int64_t>(*value, 24L * 3650));
    case 'M':
      return std::chrono::minutes(std::min<int64_t>(*value, 60L * 24 * 3650));
    case 'S':
      return std::chrono::seconds(*value);
    case 'm':
      return std::chrono::milliseconds(*value);
    case 'u':
      return std::chrono::microseconds(*value);
    case 'n':
      return nanoseconds(*value);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<ContentType> ParseContentType(std::string_view value) {
  value = value.substr(0, value.find(';'));
  while (value.ends_with(' ')) value.remove_suffix(1);
  for (const auto& [prefix, framing] : kTypes) {
    // Without a codec gRPC means binary.
    if (framing != Framing::kConnectUnary && framing != Framing::kConnectStream &&
        SameIgnoringCase(value, prefix.substr(0, prefix.size() - 1))) {
      return ContentType{framing, "proto"};
    }
    if (!SameIgnoringCase(value.substr(0, prefix.size()), prefix)) continue;
    const std::string_view codec = value.substr(prefix.size());
    if (SameIgnoringCase(codec, "proto")) return ContentType{framing, "proto"};
    if (SameIgnoringCase(codec, "json")) return ContentType{framing, "json"};
  }
  return std::nullopt;
}

std::string FormatContentType(const ContentType& type) {
  for (const auto& [prefix, framing] : kTypes) {
    if (framing == type.framing) return std::string(prefix) + std::string(type.codec);
  }
  return {};
}

Result<std::optional<nanoseconds>> ParseTimeout(Framing framing, const http::Headers& headers) {
  const bool connect = framing == Framing::kConnectUnary || framing == Framing::kConnectStream;
  const std::string_view name = connect ? "connect-timeout-ms" : "grpc-timeout";
  const std::string_view text = http::FindHeader(headers, name);
  if (text.empty()) return std::optional<nanoseconds>();
  std::optional<nanoseconds> timeout;
  if (!connect) {
    timeout = ParseGrpcTimeout(text);
  } else if (const auto value = ParseDigits(text, 10)) {
    timeout = std::chrono::milliseconds(*value);
  }
  if (!timeout) return Err(ErrorCode::kInvalidArgument, fmt::format("{}: malformed value", name));
  return timeout;
}

void AddTimeout(Framing framing, nanoseconds left, http::Headers& headers) {
  left = std::clamp<nanoseconds>(left, nanoseconds(0), std::chrono::hours(24 * 100));
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  if (framing == Framing::kConnectUnary || framing == Framing::kConnectStream) {
    headers.emplace_back("connect-timeout-ms", fmt::format("{}", ms));
  } else if (ms < 100'000'000) {
    headers.emplace_back("grpc-timeout", fmt::format("{}m", ms));
  } else {
    headers.emplace_back("grpc-timeout", fmt::format("{}S", ms / 1000));
  }
}

PackingHeaders PackingHeadersOf(Framing framing) {
  switch (framing) {
    case Framing::kConnectUnary:
      return {.packed = "content-encoding", .accepted = "accept-encoding"};
    case Framing::kConnectStream:
      return {.packed = "connect-content-encoding", .accepted = "connect-accept-encoding"};
    case Framing::kGrpc:
    case Framing::kGrpcWeb:
    case Framing::kGrpcWebText:
      break;
  }
  return {.packed = "grpc-encoding", .accepted = "grpc-accept-encoding"};
}

Result<bool> ArePacked(Framing framing, const http::Headers& headers, std::string_view supported) {
  const std::string_view name = PackingHeadersOf(framing).packed;
  const std::string_view packing = http::FindHeader(headers, name);
  if (packing.empty() || SameIgnoringCase(packing, "identity")) return false;
  if (!supported.empty() && SameIgnoringCase(packing, supported)) return true;
  return Err(ErrorCode::kUnimplemented,
             fmt::format("{}: unknown compression; supported: {}identity", name,
                         supported.empty() ? "" : std::string(supported) + ", "));
}

bool AcceptsPacking(Framing framing, const http::Headers& headers, std::string_view name) {
  const std::string_view header = PackingHeadersOf(framing).accepted;
  for (const auto& [candidate, value] : headers) {
    if (candidate != header) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      const std::string_view item = rest.substr(0, comma);
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
      const size_t semicolon = item.find(';');
      // Weights (RFC 9110, section 12.4.2) only matter as far as 0 forbids.
      const std::string_view weight =
          semicolon == std::string_view::npos ? "" : Trim(item.substr(semicolon + 1));
      const bool forbidden = weight.starts_with("q=0") &&
                             weight.substr(3).find_first_not_of(".0") == std::string_view::npos;
      if (!forbidden && SameIgnoringCase(Trim(item.substr(0, semicolon)), name)) return true;
    }
  }
  return false;
}

Result<void> CheckVersion(const http::Headers& headers) {
  const std::string_view version = http::FindHeader(headers, "connect-protocol-version");
  if (!version.empty() && version != "1") {
    return Err(ErrorCode::kInvalidArgument, "connect-protocol-version: only 1 is supported");
  }
  return {};
}

Metadata WithoutProtocolHeaders(const http::Headers& headers) {
  constexpr std::array<std::string_view, 11> kOurs = {
      "content-type",
      "content-length",
      "content-encoding",
      "accept-encoding",
      "accept",
      "te",
      "host",
      "connection",
      "keep-alive",
      "x-grpc-web",
      "transfer-encoding",
  };
  Metadata out;
  for (const auto& [name, value] : headers) {
    if (name.starts_with("connect-") || name.starts_with("grpc-")) continue;
    if (std::find(kOurs.begin(), kOurs.end(), name) != kOurs.end()) continue;
    out.emplace_back(name, value);
  }
  return out;
}

}  // namespace cleanroom::rpc
