// Host names as policies write them and as guests ask for them, in one normal form: ASCII (IDNA
// names in punycode), lower case, no trailing dot, at most 253 bytes in labels of 1 to 63 letters,
// digits, `-` and `_`.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::net {

// The normal form of a name written by a person; IDNA2008 with UTS 46 mapping, non-transitional.
// Refuses IP literals and names that a resolver might take for one (a last label such as `1` or
// `0x7f`).
Result<std::string> NormalizeHost(std::string_view text);

// The same for a name that came off the wire, where IDNA names are punycode already: never leaves
// ASCII.
Result<std::string> NormalizeWireHost(std::string_view text);

// A name, or `*.` and a name: then any one label may stand for the star.
class HostPattern {
 public:
  static Result<HostPattern> Parse(std::string_view text);

  bool is_wildcard() const { return text_.starts_with("*."); }
  // Whether a name in normal form fits.
  bool Matches(std::string_view host) const;
  const std::string& text() const { return text_; }

  auto operator<=>(const HostPattern&) const = default;

 private:
  explicit HostPattern(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

}  // namespace cleanroom::net
