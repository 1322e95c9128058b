#include "base/image_ref.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace cleanroom {
namespace {

constexpr size_t kMaxReference = 1024;
constexpr size_t kMaxRegistry = 255;
constexpr size_t kMaxRepository = 255;
constexpr size_t kMaxTag = 128;

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsAlnum(char c) { return IsLowerAlnum(c) || IsUpper(c); }

std::unexpected<Error> Refuse(std::string_view text, std::string_view why) {
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("`{}` is not an image reference: {}", text.substr(0, 120), why));
}

// path-component := alnum+ (separator alnum+)*, separator := "." | "_" | "__" | "-"+
bool IsPathComponent(std::string_view text) {
  size_t i = 0;
  const auto run = [&] {
    const size_t start = i;
    while (i < text.size() && IsLowerAlnum(text[i])) ++i;
    return i > start;
  };
  if (!run()) return false;
  while (i < text.size()) {
    const size_t start = i;
    while (i < text.size() && text[i] == text[start]) ++i;
    const size_t length = i - start;
    const char c = text[start];
    const bool separates = (c == '.' && length == 1) || (c == '_' && length <= 2) || c == '-';
    if (!separates || !run()) return false;
  }
  return true;
}

bool IsTag(std::string_view text) {
  if (text.empty() || text.size() > kMaxTag || text[0] == '.' || text[0] == '-') return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool IsPort(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && text.size() <= 5 &&
         port >= 1 && port <= 65535;
}

bool IsDomainLabel(std::string_view text) {
  return !text.empty() && IsAlnum(text.front()) && IsAlnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsAlnum(c) || c == '-'; });
}

// HOST[:PORT], where HOST is labels joined by dots or an IPv6 address in brackets.
bool IsRegistry(std::string_view text) {
  std::string_view host;
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == text.npos) return false;
    in6_addr address;
    if (inet_pton(AF_INET6, std::string(text.substr(1, close - 1)).c_str(), &address) != 1)
      return false;
    rest = text.substr(close + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    host = text.substr(0, colon);
    rest = text.substr(colon);
    for (size_t start = 0; start <= host.size();) {
      const size_t end = std::min(host.find('.', start), host.size());
      if (!IsDomainLabel(host.substr(start, end - start))) return false;
      start = end + 1;
    }
  }
  return rest.empty() || (rest[0] == ':' && IsPort(rest.substr(1)));
}

}  // namespace

bool IsSha256Digest(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix) || text.size() != kPrefix.size() + 64) return false;
  text.remove_prefix(kPrefix.size());
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<ImageRef> ImageRef::Parse(std::string_view text, std::string_view registry_of_short_names) {
  if (text.empty()) return Refuse(text, "it is empty");
  if (text.size() > kMaxReference) return Refuse(text, "it is too long");
  if (text.find("://") != text.npos)
    return Refuse(text, "write it without a scheme such as https://");

  ImageRef ref;
  std::string_view rest = text;
  if (const size_t at = rest.find('@'); at != rest.npos) {
    ref.digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!IsSha256Digest(ref.digest)) {
      return Refuse(text, "the digest must be `sha256:` and 64 lower-case hexadecimal digits");
    }
  }
  const size_t last_slash = rest.rfind('/');
  const size_t name_start = last_slash == rest.npos ? 0 : last_slash;
  if (const size_t colon = rest.find(':', name_start); colon != rest.npos) {
    ref.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!IsTag(ref.tag)) {
      return Refuse(
          text,
          "a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and begins with none of `.-`");
    }
  }

  const size_t slash = rest.find('/');
  const std::string_view first = rest.substr(0, slash);
  const bool has_registry =
      slash != rest.npos && (first.find_first_of(".:") != first.npos || first == "localhost");
  ref.registry = has_registry ? first : registry_of_short_names;
  std::transform(ref.registry.begin(), ref.registry.end(), ref.registry.begin(),
                 [](char c) { return IsUpper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
  if (ref.registry == "index.docker.io") ref.registry = kDockerHub;
  ref.repository = has_registry ? rest.substr(slash + 1) : rest;

  if (ref.registry.size() > kMaxRegistry || !IsRegistry(ref.registry)) {
    return Refuse(text, fmt::format("`{}` is not a registry host", first.substr(0, 80)));
  }
  if (ref.registry == kDockerHub && ref.repository.find('/') == std::string::npos) {
    ref.repository = "library/" + ref.repository;
  }
  if (ref.repository.size() > kMaxRepository) {
    return Refuse(text, "the repository has more than 255 characters");
  }
  for (size_t start = 0; start <= ref.repository.size();) {
    const size_t end = std::min(ref.repository.find('/', start), ref.repository.size());
    if (!IsPathComponent(std::string_view(ref.repository).substr(start, end - start))) {
      return Refuse(
          text,
          "a repository is lower-case letters and digits, joined by `.`, `_`, `__`, `-` or `/`");
    }
    start = end + 1;
  }
  return ref;
}

Result<ImageRef> ImageRef::ParsePinned(std::string_view text) {
  CR_TRY_ASSIGN(ImageRef ref, Parse(text));
  if (ref.IsPinned()) return ref;
  return Err(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "`{}` names {} where a digest is due; `cleanroom image resolve {}` prints the pinned "
          "reference",
          text, ref.tag.empty() ? "no digest" : "a tag", text));
}

std::string ImageRef::TagOrLatest() const { return tag.empty() && digest.empty() ? "latest" : tag; }

std::string ImageRef::Name() const { return fmt::format("{}/{}", registry, repository); }

std::string ImageRef::Pinned(std::string_view pinned_digest) const {
  return fmt::format("{}@{}", Name(), pinned_digest);
}

std::string ImageRef::ToString() const {
  std::string out = Name();
  if (!tag.empty()) out += ":" + tag;
  if (!digest.empty()) out += "@" + digest;
  return out;
}

}  // namespace cleanroom
