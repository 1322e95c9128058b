#include "doors/wire/http2_frame.h"

namespace cleanroom::doors::wire {

Http2Frame Http2Frame::Parse(std::string_view bytes) {
  auto at = [&bytes](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  Http2Frame out;
  out.length = at(0) << 16 | at(1) << 8 | at(2);
  out.type = static_cast<uint8_t>(bytes[3]);
  out.flags = static_cast<uint8_t>(bytes[4]);
  out.stream = (at(5) & 0x7f) << 24 | at(6) << 16 | at(7) << 8 | at(8);
  out.reserved = (at(5) & 0x80) != 0;
  return out;
}

std::string Http2Frame::Write(uint8_t type, uint8_t flags, uint32_t stream,
                              std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>(payload.size() >> shift & 0xff);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift & 0xff);
  out += payload;
  return out;
}

std::string_view Http2Frame::ClientProblem() const {
  constexpr std::string_view kLength = "an HTTP/2 frame whose length is not that of its type";
  constexpr std::string_view kStream = "an HTTP/2 frame on a stream where its type has no place";
  if (reserved) return "an HTTP/2 frame with its reserved bit set";
  switch (type) {
    case kData:
    case kHeaders:
      if (stream % 2 == 0) return kStream;
      if (Has(kPadded) && length == 0) return kLength;
      return {};
    case kContinuation:
      return stream % 2 == 0 ? kStream : std::string_view();
    case kPriority:
      if (stream == 0) return kStream;
      return length == 5 ? std::string_view() : kLength;
    case kRstStream:
      if (stream == 0) return kStream;
      return length == 4 ? std::string_view() : kLength;
    case kSettings:
      if (stream != 0) return kStream;
      return length % 6 == 0 && (!Has(kAck) || length == 0) ? std::string_view() : kLength;
    case kPing:
      if (stream != 0) return kStream;
      return length == 8 ? std::string_view() : kLength;
    case kGoaway:
      if (stream != 0) return kStream;
      return length >= 8 ? std::string_view() : kLength;
    case kWindowUpdate:
      return length == 4 ? std::string_view() : kLength;
    case kPushPromise:
      return "an HTTP/2 PUSH_PROMISE from a client";
    default:
      return {};  // RFC 9113 5.5: whoever does not know it leaves it alone
  }
}

}  // namespace cleanroom::doors::wire
