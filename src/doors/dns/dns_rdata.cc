#include "doors/dns/dns_rdata.h"

#include <algorithm>

#include "doors/dns/dns_name.h"
#include "doors/dns/dns_type.h"

namespace cleanroom::doors::wire {
namespace {

// Reads the data of one record. The cursor sees the message up to the end of the record, so names
// may point back, and nothing is read beyond it.
class Rdata {
 public:
  Rdata(std::span<const uint8_t> message, size_t at, std::vector<uint8_t>& out)
      : cursor_(message, at), out_(out) {}

  bool Copy(size_t count) { return cursor_.Copy(count, out_); }
  bool Name() { return cursor_.Name(DnsCursor::Pointers::kAllowed, out_); }
  // A length and so many bytes (RFC 1035 3.3).
  bool String() {
    uint8_t length = 0;
    if (!cursor_.U8(length) || cursor_.left() < length) return false;
    out_.push_back(length);
    return cursor_.Copy(length, out_);
  }
  bool Strings() {
    do {
      if (!String()) return false;
    } while (cursor_.left() > 0);
    return true;
  }
  bool AtEnd() const { return cursor_.left() == 0; }
  size_t left() const { return cursor_.left(); }
  DnsCursor& cursor() { return cursor_; }
  std::vector<uint8_t>& out() { return out_; }

 private:
  DnsCursor cursor_;
  std::vector<uint8_t>& out_;
};

bool Caa(Rdata& data) {  // RFC 8659 4.1: flags, tag, value
  if (!data.Copy(1) || !data.String()) return false;
  const uint8_t tag = data.out()[1];
  return tag > 0 && data.Copy(data.left());
}

bool IsLeftOut(uint16_t key) {
  constexpr uint16_t kIpv4Hint = 4;
  constexpr uint16_t kEch = 5;
  constexpr uint16_t kIpv6Hint = 6;
  return key == kIpv4Hint || key == kEch || key == kIpv6Hint;
}

// RFC 9460 2.2: priority, target, parameters in strictly rising order of their keys.
RdataVerdict Svcb(Rdata& data) {
  constexpr uint16_t kMandatory = 0;
  if (!data.Copy(2) || !data.Name()) return RdataVerdict::kMalformed;
  bool usable = true;
  int last = -1;
  while (!data.AtEnd()) {
    uint16_t key = 0;
    uint16_t length = 0;
    std::vector<uint8_t> value;
    if (!data.cursor().U16(key) || !data.cursor().U16(length) || key <= last ||
        !data.cursor().Copy(length, value)) {
      return RdataVerdict::kMalformed;
    }
    last = key;
    if (key == kMandatory) {
      if (length == 0 || length % 2 != 0) return RdataVerdict::kMalformed;
      for (size_t i = 0; i < length; i += 2) {
        usable = usable && !IsLeftOut(static_cast<uint16_t>(value[i] << 8 | value[i + 1]));
      }
    }
    if (IsLeftOut(key)) continue;
    PutU16(data.out(), key);
    PutU16(data.out(), length);
    data.out().insert(data.out().end(), value.begin(), value.end());
  }
  return usable ? RdataVerdict::kKeep : RdataVerdict::kLeaveOut;
}

}  // namespace

RdataVerdict RewriteRdata(std::span<const uint8_t> message, size_t at, size_t length, uint16_t type,
                          std::vector<uint8_t>& out) {
  if (at > message.size() || length > message.size() - at) return RdataVerdict::kMalformed;
  std::vector<uint8_t> written;
  Rdata data(message.first(at + length), at, written);
  bool whole = false;
  switch (type) {
    case dns_type::kA:
      whole = length == 4 && data.Copy(length);
      break;
    case dns_type::kAaaa:
      whole = length == 16 && data.Copy(length);
      break;
    case dns_type::kCname:
    case dns_type::kNs:
    case dns_type::kPtr:
      whole = data.Name();
      break;
    case dns_type::kMx:
      whole = data.Copy(2) && data.Name();
      break;
    case dns_type::kSrv:
      whole = data.Copy(6) && data.Name();
      break;
    case dns_type::kSoa:
      whole = data.Name() && data.Name() && data.Copy(20);
      break;
    case dns_type::kTxt:
      whole = data.Strings();
      break;
    case dns_type::kNaptr:  // RFC 3403 4.1
      whole = data.Copy(4) && data.String() && data.String() && data.String() && data.Name();
      break;
    case dns_type::kCaa:
      whole = Caa(data);
      break;
    case dns_type::kSvcb:
    case dns_type::kHttps: {
      const RdataVerdict verdict = Svcb(data);
      if (verdict != RdataVerdict::kKeep) return verdict;
      whole = true;
      break;
    }
    default:
      return RdataVerdict::kLeaveOut;
  }
  if (!whole || !data.AtEnd()) return RdataVerdict::kMalformed;
  out.insert(out.end(), written.begin(), written.end());
  return RdataVerdict::kKeep;
}

}  // namespace cleanroom::doors::wire
