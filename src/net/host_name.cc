#include "net/host_name.h"

#include <fmt/format.h>
#include <idn2.h>

#include <algorithm>
#include <memory>

#include "net/ip_address.h"

namespace cleanroom::net {
namespace {

constexpr size_t kMaxName = 253;
constexpr size_t kMaxLabel = 63;
// Before mapping a name may be longer than after it, but not by much.
constexpr size_t kMaxWritten = 1024;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); }

std::unexpected<Error> Refuse(std::string_view text, std::string_view why) {
  return Err(ErrorCode::kPolicyInvalid,
             fmt::format("`{}` is not a host name: {}", text.substr(0, 80), why));
}

// RFC 3986 leaves `1.2.3.4`, resolvers also take `127.1` and `0x7f000001` for addresses.
bool EndsInNumber(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);  // npos + 1 is 0
  if (std::all_of(last.begin(), last.end(), IsDigit)) return true;
  return last.starts_with("0x") && std::all_of(last.begin() + 2, last.end(), IsHex);
}

// Lower-cases and checks an ASCII name.
Result<std::string> NormalizeAscii(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty()) return Refuse(text, "it is empty");
  if (text.size() > kMaxName) return Refuse(text, "it has more than 253 characters");
  std::string name(text);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool fits = (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-' || c == '_' || c == '.';
    if (!fits) return Refuse(text, "only letters, digits, `-`, `_` and `.` may stand in it");
  }
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('.', start), name.size());
    const std::string_view label(name.data() + start, end - start);
    if (label.empty()) return Refuse(text, "it has an empty label");
    if (label.size() > kMaxLabel) return Refuse(text, "it has a label of more than 63 characters");
    if (label.front() == '-' || label.back() == '-') {
      return Refuse(text, "a label begins or ends with `-`");
    }
    start = end + 1;
  }
  if (EndsInNumber(name))
    return Refuse(text, "a name cannot end in a number; for an address use `cidr`");
  return name;
}

bool NeedsIdna(std::string_view text) {
  if (std::any_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    return true;
  }
  for (size_t at = 0; at + 4 <= text.size(); ++at) {
    if ((text[at] | 0x20) == 'x' && (text[at + 1] | 0x20) == 'n' && text.substr(at + 2, 2) == "--")
      return true;
  }
  return false;
}

}  // namespace

Result<std::string> NormalizeWireHost(std::string_view text) { return NormalizeAscii(text); }

Result<std::string> NormalizeHost(std::string_view text) {
  if (!NeedsIdna(text)) return NormalizeAscii(text);
  if (text.size() > kMaxWritten || text.find('\0') != text.npos) {
    return Refuse(text, "it has more than 253 characters");
  }
  const std::string terminated(text);
  uint8_t* mapped = nullptr;
  const int status = idn2_lookup_u8(reinterpret_cast<const uint8_t*>(terminated.c_str()), &mapped,
                                    IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const std::unique_ptr<uint8_t, void (*)(void*)> owned(mapped, &idn2_free);
  if (status != IDN2_OK) return Refuse(text, fmt::format("IDNA: {}", idn2_strerror(status)));
  return NormalizeAscii(reinterpret_cast<const char*>(mapped));
}

Result<HostPattern> HostPattern::Parse(std::string_view text) {
  if (!text.starts_with("*")) {
    if (text.find('*') != text.npos) {
      return Refuse(text,
                    "`*` may stand only for the whole left-most label, as in `*.example.com`");
    }
    CR_TRY_ASSIGN(std::string name, NormalizeHost(text));
    return HostPattern(std::move(name));
  }
  if (!text.starts_with("*.") || text.find('*', 1) != text.npos) {
    return Refuse(text, "`*` may stand only for the whole left-most label, as in `*.example.com`");
  }
  CR_TRY_ASSIGN(std::string name, NormalizeHost(text.substr(2)));
  if (name.size() + 2 > kMaxName) return Refuse(text, "it has more than 253 characters");
  return HostPattern("*." + name);
}

bool HostPattern::Matches(std::string_view host) const {
  if (!is_wildcard()) return host == text_;
  const size_t dot = host.find('.');
  return dot != host.npos && dot > 0 && host.substr(dot) == std::string_view(text_).substr(1);
}

}  // namespace cleanroom::net
