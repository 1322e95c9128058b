// Sniffer: what a connection speaks, from the first bytes its client sends, and the name it shows.
//
// Pure. What it cannot place is opaque (SSH, Postgres, a server that speaks first); what looks like
// TLS or HTTP but is not well-formed is malformed, never opaque: a door must not pass under the one
// what a server would read as the other. So leading blank lines before an HTTP request line,
// SSLv2-style hellos, and PROXY protocol headers are told apart too (RFC 9112 2.2, RFC 5246 E.2).
//
// HTTP is recognised leniently, by white space and "HTTP/" in the first line, in any case, and
// Http1Inspector then reads it strictly. Bytes that no request line begins with end the question at
// once, so that binary protocols do not wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "doors/wire/client_hello.h"

namespace cleanroom::doors::wire {

struct Sniffed {
  enum class Kind {
    // Not known yet: feed more. A client from which nothing came may be taken for opaque (the
    // server speaks first). One that stops after some bytes must not: what comes later could still
    // make them a hello or a request.
    kNeedMore,
    kTls,        // a whole ClientHello; server_name is empty when it has none
    kHttp1,      // an HTTP/1 request line begins here; use Http1Inspector
    kHttp2,      // the preface of cleartext HTTP/2 (RFC 9113 3.4); use Http2Inspector
    kOpaque,     // none of these
    kMalformed,  // see problem
  };
  Kind kind = Kind::kNeedMore;
  std::string server_name;  // as on the wire; not normalised, may be no valid name
  // The hello offers Encrypted ClientHello (RFC 9849): server_name is the outer name.
  bool encrypted_hello = false;
  std::string problem;  // of kMalformed: for people
};

class Sniffer {
 public:
  // Bytes of a ClientHello with its record and handshake headers, and of an HTTP request line with
  // the blank lines before it.
  static constexpr size_t kMaxHello = ClientHelloReader::kMaxHello;
  static constexpr size_t kMaxRequestLine = 8 << 10;

  // Takes the next bytes of the client; cheap however they are split. After anything but kNeedMore,
  // not to be called again.
  Sniffed Feed(std::string_view bytes);

  // Everything fed so far.
  const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }

 private:
  enum class Stage : uint8_t {
    kStart,   // which of these it is
    kHello,   // a ClientHello
    kFixed,   // a beginning of the HTTP/2 preface or a PROXY header
    kBlank,   // what may stand before a request line
    kMethod,  // the first word of a line
    kRest     // the rest of that line
  };
  // These return kNeedMore also when the stage has changed.
  Sniffed Start();
  Sniffed Hello();
  Sniffed Fixed();
  Sniffed Line();
  Sniffed EndOfLine() const;

  std::string bytes_;
  Stage stage_ = Stage::kStart;
  ClientHelloReader hello_;
  size_t at_ = 0;          // of the line's bytes, looked at
  size_t line_begin_ = 0;  // where its first word begins
  size_t matched_ = 0;     // of " HTTP/", at the end of what was looked at
};

}  // namespace cleanroom::doors::wire
