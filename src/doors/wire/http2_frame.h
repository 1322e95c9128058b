// HTTP/2 frames: their headers (RFC 9113 4.1), and what a client may send (6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

struct Http2Frame {
  static constexpr size_t kHeader = 9;
  enum Type : uint8_t {
    kData = 0,
    kHeaders = 1,
    kPriority = 2,
    kRstStream = 3,
    kSettings = 4,
    kPushPromise = 5,
    kPing = 6,
    kGoaway = 7,
    kWindowUpdate = 8,
    kContinuation = 9,
  };
  static constexpr uint8_t kEndStream = 0x1, kAck = 0x1, kEndHeaders = 0x4, kPadded = 0x8,
                           kHasPriority = 0x20;

  uint32_t length = 0;  // of the payload
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;    // without its reserved bit
  bool reserved = false;  // that bit

  bool Has(uint8_t flag) const { return (flags & flag) != 0; }

  // `bytes` are kHeader of them.
  static Http2Frame Parse(std::string_view bytes);
  // A whole frame.
  static std::string Write(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);

  // What is wrong with it as a client's, by itself; empty when nothing is.
  std::string_view ClientProblem() const;
};

}  // namespace cleanroom::doors::wire
