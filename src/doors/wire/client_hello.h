// ClientHelloReader: puts a TLS ClientHello together from records and reads the name in it (RFC
// 8446 4.1.2 and 5.1, RFC 5246 7.4.1.2, RFC 6066 3).
//
// A hello may lie in any number of records. What a strict server would refuse is refused here, so
// that none reads another name: records of another kind in between, empty records, bytes after the
// hello in its last record, an extension that occurs twice, lengths that do not agree.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

class ClientHelloReader {
 public:
  static constexpr size_t kMaxHello = 64 << 10;  // with its record and handshake headers
  static constexpr size_t kMaxRecord = 1 << 14;  // RFC 8446 5.1
  static constexpr size_t kMaxServerName = 255;

  enum class State { kNeedMore, kWhole, kMalformed };
  // `bytes` begins with the first record's header, and with what the calls before got. Each byte is
  // looked at once. After anything but kNeedMore, not to be called again.
  State Read(std::string_view bytes);

  const std::string& server_name() const { return server_name_; }
  bool encrypted_hello() const { return encrypted_hello_; }
  const std::string& problem() const { return problem_; }

 private:
  State Malformed(std::string_view problem);
  State ReadHeader(std::string_view bytes);
  State CheckMessage();
  State ReadHello(std::string_view hello);
  State ReadExtensions(std::string_view extensions);
  State ReadServerName(std::string_view data);

  size_t at_ = 0;           // of the bytes, looked at
  size_t record_left_ = 0;  // bytes of the present record that are still to come
  std::string message_;     // the handshake message, without record headers
  std::string server_name_;
  bool encrypted_hello_ = false;
  std::string problem_;
};

}  // namespace cleanroom::doors::wire
