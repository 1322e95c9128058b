// Sniffer: what a connection speaks, from the first bytes its client sends, and the name it shows.
//
// Pure. What it cannot place is opaque (SSH, Postgres, a server that speaks first); what looks like
// TLS or HTTP but is not well-formed is malformed, never opaque: a door must not pass under the one
// what a server would read as the other. So leading blank lines before an HTTP request line,
// SSLv2-style hellos, and PROXY protocol headers are told apart too (RFC 9112 2.2, RFC 5246 E.2).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

struct Sniffed {
  enum class Kind {
    kNeedMore,   // not known yet: feed more, or, when nothing comes, treat it as opaque
    kTls,        // a whole ClientHello; server_name is empty when it has none
    kHttp1,      // an HTTP/1 request line begins here; use Http1Inspector
    kHttp2,      // the preface of cleartext HTTP/2 (RFC 9113 3.4); use Http2Inspector
    kOpaque,     // none of these
    kMalformed,  // see problem
  };
  Kind kind = Kind::kNeedMore;
  std::string server_name;  // as on the wire; not normalised, may be no valid name
  // The hello offers Encrypted ClientHello (draft-ietf-tls-esni): server_name is the outer name.
  bool encrypted_hello = false;
  std::string problem;  // of kMalformed: for people
};

class Sniffer {
 public:
  // Bytes of a ClientHello with its record and handshake headers, and of an HTTP request line.
  static constexpr size_t kMaxHello = 64 << 10;
  static constexpr size_t kMaxRequestLine = 8 << 10;

  // Takes the next bytes of the client; cheap however they are split. After anything but kNeedMore,
  // not to be called again.
  Sniffed Feed(std::string_view bytes);

  // Everything fed so far.
  const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
  size_t needed_ = 1;  // look again when there are this many
};

}  // namespace cleanroom::doors::wire
