#include "doors/dns/dns_name.h"

#include <algorithm>

namespace cleanroom::doors::wire {
namespace {

bool IsPlain(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

uint8_t Lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + 32) : c; }

}  // namespace

bool DnsCursor::U8(uint8_t& out) {
  if (left() < 1) return false;
  out = message_[at_++];
  return true;
}

bool DnsCursor::U16(uint16_t& out) {
  if (left() < 2) return false;
  out = static_cast<uint16_t>(message_[at_] << 8 | message_[at_ + 1]);
  at_ += 2;
  return true;
}

bool DnsCursor::U32(uint32_t& out) {
  if (left() < 4) return false;
  out = 0;
  for (int i = 0; i < 4; ++i) out = out << 8 | message_[at_++];
  return true;
}

bool DnsCursor::Copy(size_t count, std::vector<uint8_t>& out) {
  if (left() < count) return false;
  const auto part = message_.subspan(at_, count);
  out.insert(out.end(), part.begin(), part.end());
  at_ += count;
  return true;
}

bool DnsCursor::Skip(size_t count) {
  if (left() < count) return false;
  at_ += count;
  return true;
}

bool DnsCursor::Name(Pointers pointers, std::vector<uint8_t>& out) {
  constexpr uint8_t kPointer = 0xc0;
  const size_t begin = out.size();
  size_t at = at_;
  size_t part = at_;               // where the present part of the name begins
  std::optional<size_t> followed;  // where reading goes on once a pointer was followed
  for (int hops = 0;;) {
    if (at >= message_.size()) return false;
    const uint8_t length = message_[at];
    if ((length & kPointer) == kPointer) {
      if (pointers == Pointers::kForbidden || at + 1 >= message_.size()) return false;
      const size_t target = static_cast<size_t>(length & ~kPointer & 0xff) << 8 | message_[at + 1];
      if (target >= part || ++hops > kMaxPointers) return false;
      if (!followed) followed = at + 2;
      at = part = target;
      continue;
    }
    if (length > kMaxLabel) return false;  // the label types of RFC 2671 and 2673 are gone
    if (message_.size() - at < size_t{1} + length) return false;
    if (out.size() - begin + 1 + length > kMaxNameLength) return false;
    const auto label = message_.subspan(at, size_t{1} + length);
    out.insert(out.end(), label.begin(), label.end());
    at += label.size();
    if (length == 0) break;
  }
  at_ = followed.value_or(at);
  return true;
}

std::string NameToText(std::span<const uint8_t> wire) {
  std::string out;
  for (size_t at = 0; at < wire.size() && wire[at] != 0; at += size_t{1} + wire[at]) {
    if (!out.empty()) out += '.';
    for (const uint8_t c : wire.subspan(at + 1, wire[at])) {
      if (IsPlain(c)) {
        out += static_cast<char>(c);
      } else {
        out += '\\';
        for (const int unit : {100, 10, 1}) out += static_cast<char>('0' + c / unit % 10);
      }
    }
  }
  return out.empty() ? "." : out;
}

std::optional<std::vector<uint8_t>> NameFromText(std::string_view text) {
  std::vector<uint8_t> out{0};
  if (text == ".") return out;
  if (text.ends_with('.')) text.remove_suffix(1);
  size_t label = 0;  // where the present label's length stands
  auto end_label = [&] {
    const size_t length = out.size() - label - 1;
    out[label] = static_cast<uint8_t>(length);
    return length > 0 && length <= kMaxLabel;
  };
  for (size_t i = 0; i < text.size() && out.size() <= kMaxNameLength; ++i) {
    if (text[i] == '.') {
      if (!end_label()) return std::nullopt;
      label = out.size();
      out.push_back(0);
    } else if (text[i] == '\\') {
      if (text.size() - i < 4) return std::nullopt;
      int value = 0;
      for (const char c : text.substr(i + 1, 3)) {
        if (!IsDigit(c)) return std::nullopt;
        value = value * 10 + (c - '0');
      }
      if (value > 255) return std::nullopt;
      out.push_back(static_cast<uint8_t>(value));
      i += 3;
    } else {
      out.push_back(static_cast<uint8_t>(text[i]));
    }
  }
  if (!end_label()) return std::nullopt;
  out.push_back(0);
  if (out.size() > kMaxNameLength) return std::nullopt;
  return out;
}

bool IsPlainName(std::span<const uint8_t> wire) {
  for (size_t at = 0; at < wire.size() && wire[at] != 0; at += size_t{1} + wire[at]) {
    if (!std::ranges::all_of(wire.subspan(at + 1, wire[at]), IsPlain)) return false;
  }
  return true;
}

// Lengths are below 64, so lowering them as if they were letters changes none.
bool SameName(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return std::ranges::equal(a, b, {}, Lower, Lower);
}

bool IsWithin(std::span<const uint8_t> name, std::span<const uint8_t> zone) {
  for (size_t at = 0; at < name.size(); at += size_t{1} + name[at]) {
    if (SameName(name.subspan(at), zone)) return true;
  }
  return false;
}

void PutU16(std::vector<uint8_t>& out, uint16_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void PutU32(std::vector<uint8_t>& out, uint32_t value) {
  PutU16(out, static_cast<uint16_t>(value >> 16));
  PutU16(out, static_cast<uint16_t>(value));
}

}  // namespace cleanroom::doors::wire
