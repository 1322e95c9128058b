// Envelopes: five bytes (flags, length) and a message. The framing of gRPC, gRPC-Web and of streams
// in the Connect protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::rpc {

inline constexpr size_t kEnvelopeHead = 5;
inline constexpr uint8_t kFlagCompressed = 1;
inline constexpr uint8_t kFlagConnectEnd = 2;  // Connect: the JSON that ends a stream of responses
inline constexpr uint8_t kFlagWebTrailers = 0x80;  // gRPC-Web: trailers

struct Envelope {
  uint8_t flags;
  std::string_view payload;  // valid until the next call of the reader
};

// Cuts a stream of bytes into envelopes. Holds at most one unfinished envelope and one read.
class EnvelopeReader {
 public:
  // `max_bytes`: of one payload. It is checked against the announced length, before anything is
  // kept.
  explicit EnvelopeReader(size_t max_bytes) : max_bytes_(max_bytes) {}

  // The next complete envelope; nothing when more bytes are needed. kResourceExhausted: it is too
  // large.
  Result<std::optional<Envelope>> Next();
  // How many bytes are missing for the next envelope to be complete, or for its length to be known.
  size_t missing() const;
  // Where to append what has arrived. Ends the validity of the last payload.
  std::string& Input();
  // Whether bytes of an unfinished envelope are left.
  bool partial() const { return offset_ < buffer_.size(); }

 private:
  const size_t max_bytes_;
  std::string buffer_;
  size_t offset_ = 0;
};

// Begins an envelope in `out` and returns its place, for EndEnvelope once the payload has been
// appended.
size_t BeginEnvelope(std::string& out, uint8_t flags);
// kResourceExhausted: longer than the format can say.
Result<void> EndEnvelope(std::string& out, size_t place);

}  // namespace cleanroom::rpc
