#include "image/image_ref.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/digest.h"

namespace cleanroom::image {
namespace {

constexpr size_t kMaxRefBytes = 512;
constexpr size_t kMaxTagBytes = 128;

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsAlnum(char c) { return IsLowerAlnum(c) || (c >= 'A' && c <= 'Z'); }

// One path component: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
bool IsComponent(std::string_view text) {
  if (text.empty() || !IsLowerAlnum(text.front()) || !IsLowerAlnum(text.back())) return false;
  for (size_t i = 1; i < text.size(); ++i) {
    const char c = text[i];
    if (IsLowerAlnum(c) || c == '-') continue;
    if (c != '.' && c != '_') return false;
    const char before = text[i - 1];
    const bool doubled_underscore = c == '_' && before == '_' && (i < 2 || text[i - 2] != '_');
    if (!IsLowerAlnum(before) && !doubled_underscore) return false;
  }
  return true;
}

bool IsRepository(std::string_view text) {
  while (true) {
    const size_t slash = text.find('/');
    if (!IsComponent(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool IsTag(std::string_view text) {
  if (text.empty() || text.size() > kMaxTagBytes || (!IsAlnum(text[0]) && text[0] != '_'))
    return false;
  return std::ranges::all_of(text,
                             [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool IsHost(std::string_view text) {
  std::string_view name = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    name = text.substr(1, close - 1);
    if (!std::ranges::all_of(name, [](char c) {
          return std::isxdigit(static_cast<unsigned char>(c)) || c == ':' || c == '.';
        })) {
      return false;
    }
    if (close + 1 == text.size()) return true;
    if (text[close + 1] != ':') return false;
    port = text.substr(close + 2);
  } else {
    const size_t colon = text.find(':');
    name = text.substr(0, colon);
    if (name.empty() || !IsAlnum(name.front()) || !IsAlnum(name.back())) return false;
    if (!std::ranges::all_of(name, [](char c) { return IsAlnum(c) || c == '.' || c == '-'; }))
      return false;
    if (colon == std::string_view::npos) return true;
    port = text.substr(colon + 1);
  }
  return !port.empty() && port.size() <= 5 &&
         std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
}

std::unexpected<Error> Invalid(std::string_view text, std::string_view why) {
  return Err(
      ErrorCode::kInvalidArgument,
      fmt::format("image reference '{}': {}; expected HOST/REPOSITORY[:TAG][@sha256:<64 hex>]",
                  text, why));
}

}  // namespace

Result<ImageRef> ParseImageRef(std::string_view text, std::string_view default_host) {
  if (text.empty() || text.size() > kMaxRefBytes) {
    return Invalid(text.substr(0, 64), text.empty() ? "empty" : "too long");
  }
  ImageRef ref;
  std::string_view rest = text;
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    ref.digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!IsDigest(ref.digest)) return Invalid(text, "the digest is not sha256:<64 lower-case hex>");
  }
  const size_t slash = rest.find('/');
  const std::string_view first = rest.substr(0, slash);
  if (slash != std::string_view::npos &&
      (first == kLocalHost || first.find_first_of(".:") != std::string_view::npos)) {
    if (!IsHost(first)) return Invalid(text, "the host is malformed");
    ref.host = first;
    rest.remove_prefix(slash + 1);
  } else if (default_host.empty()) {
    return Invalid(text, "no registry host");
  } else {
    ref.host = default_host;
  }
  if (const size_t colon = rest.find(':'); colon != std::string_view::npos) {
    ref.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!IsTag(ref.tag)) return Invalid(text, "the tag is malformed");
  }
  ref.repository = rest;
  if (!IsRepository(ref.repository))
    return Invalid(text, "the repository is malformed (lower-case, '/'-separated)");
  return ref;
}

std::string ToString(const ImageRef& ref) {
  std::string out = ref.host + "/" + ref.repository;
  if (!ref.tag.empty()) out += ":" + ref.tag;
  if (!ref.digest.empty()) out += "@" + ref.digest;
  return out;
}

std::string PinnedRef(const ImageRef& ref, std::string_view digest) {
  return fmt::format("{}/{}@{}", ref.host, ref.repository, digest);
}

}  // namespace cleanroom::image
