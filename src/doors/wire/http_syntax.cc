#include "doors/wire/http_syntax.h"

#include <algorithm>

#include "net/ip_address.h"

namespace cleanroom::doors::wire {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

bool IsTokenChar(uint8_t c) {
  return c < 0x80 && (IsAlnum(static_cast<char>(c)) ||
                      std::string_view("!#$%&'*+-.^_`|~").contains(static_cast<char>(c)));
}

bool IsToken(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return IsTokenChar(static_cast<uint8_t>(c)); });
}

bool IsFieldValue(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

bool IsRequestTarget(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

bool SameIgnoringCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, Lower, Lower);
}

std::string_view TrimSpace(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::optional<uint64_t> ParseLength(std::string_view text) {
  if (text.empty() || text.size() > 17) return std::nullopt;
  uint64_t out = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    out = out * 10 + static_cast<uint64_t>(c - '0');
  }
  return out;
}

bool Authority::SameAs(const Authority& other) const {
  return port == other.port && SameIgnoringCase(host, other.host);
}

std::optional<Authority> ParseAuthority(std::string_view text) {
  constexpr size_t kMaxHost = 255;
  Authority out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    out.host = text.substr(1, end - 1);
    if (!out.host.contains(':') || !net::IpAddress::Parse(out.host)) return std::nullopt;
    rest = text.substr(end + 1);
  } else {
    const std::string_view host = text.substr(0, text.find(':'));
    if (host.empty() || host.size() > kMaxHost || !std::ranges::all_of(host, [](char c) {
          return IsAlnum(c) || c == '.' || c == '-' || c == '_';
        })) {
      return std::nullopt;
    }
    out.host = host;
    rest = text.substr(host.size());
  }
  if (rest.empty()) return out;
  rest.remove_prefix(1);
  const auto port = text[text.size() - rest.size() - 1] == ':' ? ParseLength(rest) : std::nullopt;
  if (!port || rest.size() > 5 || *port < 1 || *port > 65'535) return std::nullopt;
  out.port = static_cast<uint16_t>(*port);
  return out;
}

}  // namespace cleanroom::doors::wire
