#include "doors/wire/client_hello.h"

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <memory>

namespace cleanroom::doors::wire {
namespace {

constexpr size_t kRecordHeader = 5;
constexpr size_t kMessageHeader = 4;
constexpr uint8_t kHandshake = 22;
constexpr uint8_t kClientHello = 1;
constexpr uint16_t kServerNameExtension = 0;
constexpr uint16_t kEncryptedClientHello = 0xfe0d;  // RFC 9849
constexpr uint16_t kEncryptedServerName = 0xffce;   // its predecessor, ESNI

uint8_t Byte(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

size_t Number(std::string_view bytes) {
  size_t out = 0;
  for (const char c : bytes) out = out << 8 | static_cast<uint8_t>(c);
  return out;
}

// Takes a number of `width` bytes from the front, and as many bytes as it says.
bool TakeVector(std::string_view& from, size_t width, std::string_view& out) {
  if (from.size() < width) return false;
  const size_t length = Number(from.substr(0, width));
  if (from.size() - width < length) return false;
  out = from.substr(width, length);
  from.remove_prefix(width + length);
  return true;
}

}  // namespace

ClientHelloReader::State ClientHelloReader::Malformed(std::string_view problem) {
  problem_ = problem;
  return State::kMalformed;
}

ClientHelloReader::State ClientHelloReader::Read(std::string_view bytes) {
  while (true) {
    if (record_left_ == 0) {
      const State state = ReadHeader(bytes);
      if (state != State::kWhole) return state;
    }
    const size_t count = std::min(record_left_, bytes.size() - at_);
    if (count == 0) return State::kNeedMore;
    message_.append(bytes.substr(at_, count));
    at_ += count;
    record_left_ -= count;
    const State state = CheckMessage();
    if (state != State::kNeedMore) return state;
  }
}

// kWhole when there was a header.
ClientHelloReader::State ClientHelloReader::ReadHeader(std::string_view bytes) {
  if (bytes.size() - at_ < kRecordHeader) return State::kNeedMore;
  const std::string_view header = bytes.substr(at_, kRecordHeader);
  if (Byte(header, 0) != kHandshake) return Malformed("a TLS record that is no handshake");
  if (Byte(header, 1) != 3 || Byte(header, 2) < 1 || Byte(header, 2) > 3) {
    return Malformed("a TLS record of an unknown version");
  }
  record_left_ = Number(header.substr(3));
  if (record_left_ == 0) return Malformed("an empty TLS handshake record");
  if (record_left_ > kMaxRecord) return Malformed("a TLS record longer than 16 KiB");
  at_ += kRecordHeader;
  if (at_ + record_left_ > kMaxHello) return Malformed("a TLS ClientHello longer than 64 KiB");
  return State::kWhole;
}

ClientHelloReader::State ClientHelloReader::CheckMessage() {
  if (Byte(message_, 0) != kClientHello) {
    return Malformed("a TLS handshake that does not begin with a ClientHello");
  }
  if (message_.size() < kMessageHeader) return State::kNeedMore;
  const size_t whole = kMessageHeader + Number(std::string_view(message_).substr(1, 3));
  if (whole > kMaxHello) return Malformed("a TLS ClientHello longer than 64 KiB");
  if (message_.size() + record_left_ > whole) {
    return Malformed("bytes after the TLS ClientHello in its record");
  }
  if (message_.size() < whole) return State::kNeedMore;
  return ReadHello(std::string_view(message_).substr(kMessageHeader));
}

ClientHelloReader::State ClientHelloReader::ReadHello(std::string_view hello) {
  constexpr size_t kVersionAndRandom = 2 + 32;
  if (hello.size() < kVersionAndRandom) return Malformed("a TLS ClientHello that is cut");
  if (Byte(hello, 0) != 3) return Malformed("a TLS ClientHello of an unknown version");
  hello.remove_prefix(kVersionAndRandom);
  std::string_view session;
  std::string_view ciphers;
  std::string_view compressions;
  if (!TakeVector(hello, 1, session) || session.size() > 32 || !TakeVector(hello, 2, ciphers) ||
      ciphers.empty() || ciphers.size() % 2 != 0 || !TakeVector(hello, 1, compressions) ||
      compressions.empty()) {
    return Malformed("a TLS ClientHello whose lengths do not agree");
  }
  if (hello.empty()) return State::kWhole;  // TLS 1.2 allows a hello without extensions
  std::string_view extensions;
  if (!TakeVector(hello, 2, extensions) || !hello.empty()) {
    return Malformed("a TLS ClientHello whose lengths do not agree");
  }
  return ReadExtensions(extensions);
}

ClientHelloReader::State ClientHelloReader::ReadExtensions(std::string_view extensions) {
  const auto seen = std::make_unique<std::bitset<1 << 16>>();
  while (!extensions.empty()) {
    std::string_view data;
    if (extensions.size() < 2) return Malformed("a TLS extension that is cut");
    const auto type = static_cast<uint16_t>(Number(extensions.substr(0, 2)));
    extensions.remove_prefix(2);
    if (!TakeVector(extensions, 2, data)) return Malformed("a TLS extension that is cut");
    if (seen->test(type)) return Malformed("a TLS extension that occurs twice");
    seen->set(type);
    if (type == kEncryptedClientHello || type == kEncryptedServerName) encrypted_hello_ = true;
    if (type != kServerNameExtension) continue;
    const State state = ReadServerName(data);
    if (state != State::kWhole) return state;
  }
  return State::kWhole;
}

ClientHelloReader::State ClientHelloReader::ReadServerName(std::string_view data) {
  constexpr uint8_t kHostName = 0;
  std::string_view list;
  std::string_view name;
  if (!TakeVector(data, 2, list) || !data.empty() || list.empty()) {
    return Malformed("a TLS server_name whose lengths do not agree");
  }
  if (Byte(list, 0) != kHostName) return Malformed("a TLS server_name of an unknown kind");
  list.remove_prefix(1);
  if (!TakeVector(list, 2, name)) return Malformed("a TLS server_name that is cut");
  if (!list.empty()) return Malformed("more than one TLS server_name");
  if (name.empty() || name.size() > kMaxServerName || name.contains('\0')) {
    return Malformed("a TLS server_name that is empty, too long or has a NUL in it");
  }
  server_name_ = name;
  return State::kWhole;
}

}  // namespace cleanroom::doors::wire
