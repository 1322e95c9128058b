#include "doors/wire/sniffer.h"

#include <algorithm>
#include <array>

#include "doors/wire/http_syntax.h"

namespace cleanroom::doors::wire {
namespace {

using Kind = Sniffed::Kind;
using namespace std::string_view_literals;  // NOLINT: a signature holds a NUL

constexpr std::string_view kProxyV1 = "PROXY ";
constexpr std::string_view kProxyV2 = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::array<std::string_view, 9> kMethods{"GET",     "HEAD",  "POST",  "PUT",    "DELETE",
                                                   "OPTIONS", "TRACE", "PATCH", "CONNECT"};

Sniffed Is(Kind kind) {
  Sniffed out;
  out.kind = kind;
  return out;
}

Sniffed Malformed(std::string_view problem) {
  Sniffed out = Is(Kind::kMalformed);
  out.problem = problem;
  return out;
}

// White space in the widest sense that a server is known to split a request line by.
bool IsSpace(uint8_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0xa0;
}

bool IsLetter(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Whether `bytes` agrees with `pattern` as far as both go.
bool Agrees(std::string_view bytes, std::string_view pattern) {
  const size_t count = std::min(bytes.size(), pattern.size());
  return bytes.substr(0, count) == pattern.substr(0, count);
}

}  // namespace

Sniffed Sniffer::Feed(std::string_view bytes) {
  bytes_.append(bytes);
  if (bytes_.empty()) return {};
  Sniffed out;
  if (stage_ == Stage::kStart) out = Start();
  if (stage_ == Stage::kHello) return Hello();
  if (stage_ == Stage::kFixed) out = Fixed();
  if (stage_ >= Stage::kBlank) return Line();
  return out;
}

Sniffed Sniffer::Start() {
  constexpr size_t kRecordHeader = 5;
  constexpr size_t kMaxCiphertext = (1 << 14) + 2048;  // RFC 5246 6.2.3
  auto at = [this](size_t i) { return static_cast<uint8_t>(bytes_[i]); };
  const size_t size = bytes_.size();
  const uint8_t first = at(0);
  if (first == 22) {  // a handshake record
    if (size < 2) return {};
    if (at(1) != 3) return Is(Kind::kOpaque);
    stage_ = Stage::kHello;
    return {};
  }
  if (first == 20 || first == 21 || first == 23 || first == 24) {  // another record
    if ((size > 1 && at(1) != 3) || (size > 2 && (at(2) < 1 || at(2) > 4))) {
      return Is(Kind::kOpaque);
    }
    if (size < kRecordHeader) return {};
    if ((at(3) << 8 | at(4)) > static_cast<int>(kMaxCiphertext)) return Is(Kind::kOpaque);
    return Malformed("TLS that does not begin with a ClientHello");
  }
  if ((first & 0x80) != 0) {  // an SSLv2-style hello: length, type 1, version 0.2 or 3.x
    const bool differs = (size > 2 && at(2) != 1) || (size > 3 && at(3) != 0 && at(3) != 3) ||
                         (size > 4 && (at(3) == 3 ? at(4) > 4 : at(4) != 2));
    if (!differs) return Is(size < kRecordHeader ? Kind::kNeedMore : Kind::kTls);
  }
  stage_ = Stage::kFixed;
  return {};
}

Sniffed Sniffer::Hello() {
  switch (hello_.Read(bytes_)) {
    case ClientHelloReader::State::kNeedMore:
      return {};
    case ClientHelloReader::State::kMalformed:
      return Malformed(hello_.problem());
    case ClientHelloReader::State::kWhole:
      break;
  }
  Sniffed out = Is(Kind::kTls);
  out.server_name = hello_.server_name();
  out.encrypted_hello = hello_.encrypted_hello();
  return out;
}

Sniffed Sniffer::Fixed() {
  if (Agrees(bytes_, kHttp2Preface)) {
    return Is(bytes_.size() < kHttp2Preface.size() ? Kind::kNeedMore : Kind::kHttp2);
  }
  if (Agrees(bytes_, kProxyV1)) {
    return bytes_.size() < kProxyV1.size() ? Sniffed() : Malformed("a PROXY protocol header");
  }
  if (Agrees(bytes_, kProxyV2)) {
    return bytes_.size() < kProxyV2.size() ? Sniffed() : Malformed("a PROXY protocol header");
  }
  stage_ = Stage::kBlank;
  return {};
}

Sniffed Sniffer::Line() {
  constexpr std::string_view kVersion = " HTTP/";
  for (; at_ < bytes_.size(); ++at_) {
    if (at_ >= kMaxRequestLine) return Malformed("a request line longer than 8 KiB");
    const auto c = static_cast<uint8_t>(bytes_[at_]);
    if (stage_ == Stage::kBlank) {
      if (IsSpace(c)) continue;
      if (!IsTokenChar(c)) return Is(Kind::kOpaque);
      line_begin_ = at_;
      stage_ = Stage::kMethod;
      continue;
    }
    if (c == '\n') return EndOfLine();
    if (IsSpace(c)) {
      stage_ = Stage::kRest;
      matched_ = 1;
      continue;
    }
    const bool is_text = c > 0x20 && c < 0x7f;
    if (stage_ == Stage::kMethod) {
      if (!is_text) return Is(Kind::kOpaque);
      continue;
    }
    // Some servers take any byte in a target, but none a binary one after a word that is no method.
    const bool is_control = c < 0x20 || c == 0x7f;
    if (is_control && !IsLetter(static_cast<uint8_t>(bytes_[line_begin_]))) {
      return Is(Kind::kOpaque);
    }
    const auto upper = static_cast<char>(IsLetter(c) ? c & ~0x20 : c);
    matched_ = matched_ > 0 && upper == kVersion[matched_] ? matched_ + 1 : 0;
    if (matched_ == kVersion.size()) return Is(Kind::kHttp1);
  }
  return {};
}

// A line without a version: HTTP/0.9 has neither a host nor a refusal, and servers still speak it.
Sniffed Sniffer::EndOfLine() const {
  const std::string_view line = std::string_view(bytes_).substr(line_begin_, at_ - line_begin_);
  const auto space =
      std::ranges::find_if(line, [](char c) { return IsSpace(static_cast<uint8_t>(c)); });
  const std::string_view method = line.substr(0, static_cast<size_t>(space - line.begin()));
  const std::string_view rest = line.substr(method.size());
  const auto target =
      std::ranges::find_if_not(rest, [](char c) { return IsSpace(static_cast<uint8_t>(c)); });
  if (std::ranges::find(kMethods, method) != kMethods.end() && target != rest.end() &&
      (*target == '/' || rest.contains("://"))) {
    return Malformed("an HTTP request without a version");
  }
  return Is(Kind::kOpaque);
}

}  // namespace cleanroom::doors::wire
