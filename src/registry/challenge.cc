#include "registry/challenge.h"

#include <algorithm>
#include <cctype>

namespace cleanroom::registry {
namespace {

constexpr size_t kMaxParams = 16;

bool IsTokenChar(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

std::string TakeToken(std::string_view& rest) {
  const auto end = std::ranges::find_if_not(rest, IsTokenChar);
  std::string out(rest.begin(), end);
  rest.remove_prefix(out.size());
  return out;
}

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

void SkipSpace(std::string_view& rest) {
  while (rest.starts_with(' ') || rest.starts_with('\t')) rest.remove_prefix(1);
}

bool TakeQuoted(std::string_view& rest, std::string& out) {
  rest.remove_prefix(1);
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == '"') return true;
    if (c == '\\') {
      if (rest.empty()) return false;
      out += rest.front();
      rest.remove_prefix(1);
    } else {
      out += c;
    }
  }
  return false;
}

}  // namespace

std::optional<Challenge> ParseChallenge(std::string_view rest) {
  Challenge out;
  SkipSpace(rest);
  out.scheme = Lower(TakeToken(rest));
  if (out.scheme.empty()) return {};
  SkipSpace(rest);
  while (!rest.empty() && out.params.size() < kMaxParams) {
    const std::string name = Lower(TakeToken(rest));
    SkipSpace(rest);
    if (name.empty() || !rest.starts_with('=')) break;  // the next challenge, or a token68
    rest.remove_prefix(1);
    SkipSpace(rest);
    std::string value;
    if (rest.starts_with('"')) {
      if (!TakeQuoted(rest, value)) return {};
    } else {
      value = TakeToken(rest);
    }
    out.params.emplace(name, std::move(value));
    SkipSpace(rest);
    if (!rest.starts_with(',')) break;
    rest.remove_prefix(1);
    SkipSpace(rest);
  }
  return out;
}

}  // namespace cleanroom::registry
