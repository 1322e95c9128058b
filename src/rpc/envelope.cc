#include "rpc/envelope.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace cleanroom::rpc {
namespace {

size_t PayloadSize(std::string_view head) {
  uint32_t size = 0;
  for (size_t i = 1; i < kEnvelopeHead; ++i) size = (size << 8) | static_cast<uint8_t>(head[i]);
  return size;
}

}  // namespace

Result<std::optional<Envelope>> EnvelopeReader::Next() {
  const std::string_view rest = std::string_view(buffer_).substr(offset_);
  if (rest.size() < kEnvelopeHead) return std::optional<Envelope>();
  const size_t size = PayloadSize(rest);
  if (size > max_bytes_) {
    return Err(
        Error(ErrorCode::kResourceExhausted,
              fmt::format("a message of {} bytes is larger than the limit of {}", size, max_bytes_))
            .Remedy("Send less at once"));
  }
  if (rest.size() - kEnvelopeHead < size) return std::optional<Envelope>();
  offset_ += kEnvelopeHead + size;
  return std::optional<Envelope>(
      {.flags = static_cast<uint8_t>(rest[0]), .payload = rest.substr(kEnvelopeHead, size)});
}

size_t EnvelopeReader::missing() const {
  const std::string_view rest = std::string_view(buffer_).substr(offset_);
  if (rest.size() < kEnvelopeHead) return kEnvelopeHead - rest.size();
  const size_t whole = kEnvelopeHead + PayloadSize(rest);
  return whole - std::min(whole, rest.size());
}

std::string& EnvelopeReader::Input() {
  buffer_.erase(0, offset_);
  offset_ = 0;
  return buffer_;
}

size_t BeginEnvelope(std::string& out, uint8_t flags) {
  const size_t place = out.size();
  out.push_back(static_cast<char>(flags));
  out.append(kEnvelopeHead - 1, '\0');
  return place;
}

Result<void> EndEnvelope(std::string& out, size_t place) {
  const size_t size = out.size() - place - kEnvelopeHead;
  if (size > std::numeric_limits<uint32_t>::max()) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("a message of {} bytes cannot be sent", size));
  }
  for (size_t i = 0; i < 4; ++i) {
    out[place + 1 + i] = static_cast<char>(size >> (24 - 8 * i) & 255);
  }
  return {};
}

}  // namespace cleanroom::rpc
