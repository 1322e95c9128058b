// Http1Inspector: follows the requests of one HTTP/1 connection, so that each is checked by its
// host before any byte of it goes on. Bytes pass unchanged or not at all, with one exception: an
// offer to go on in HTTP/2 (`Upgrade: h2c`) is taken out of a head, as a proxy may, so that clients
// which make it by default are served in HTTP/1.
//
// It reads what RFC 9112 allows and no more: no ambiguous framing (Content-Length with
// Transfer-Encoding, differing lengths, a coding other than a final chunked), no bare CR or LF in a
// head, no folded lines, no space before a colon, exactly one Host (HTTP/1.0 may have none: then
// the request is refused as one without a name), and an absolute-form target must name the same
// host and port as Host. CONNECT is refused. A request that asks for an upgrade passes only as the
// first of a connection; what follows it waits until FromServer has seen whether the server
// switched. Upgrades to TLS are refused: what they carry would name hosts again.
//
// No body is held; only heads, trailers and the lines between chunks wait until they are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

class Http1Inspector {
 public:
  static constexpr size_t kMaxHead = 64 << 10;
  static constexpr size_t kMaxHeaders = 256;
  static constexpr size_t kMaxTrailers = 8 << 10;
  static constexpr size_t kMaxChunkLine = 1 << 10;  // a chunk's size with its extensions
  static constexpr size_t kMaxHeld = 64 << 10;      // bytes that wait for the answer to an upgrade

  // Asked once for every request with its host (no port, no brackets around an IPv6 address, as
  // on the wire otherwise) and the port it names (0: none): whether it may pass.
  using Check = std::function<bool(std::string_view host, uint16_t port)>;
  explicit Http1Inspector(Check check) : check_(std::move(check)) {}

  enum class Outcome {
    kGoOn,        // forward, and feed what comes next
    kTunnel,      // forward this and all that follows: the connection is no longer HTTP
    kRefused,     // the check said no; forward nothing more
    kNoHost,      // there is no host to check
    kMalformed,   // see problem()
    kUnsupported  // CONNECT, a late upgrade, an unknown HTTP version; see problem()
  };
  struct Step {
    Outcome outcome = Outcome::kGoOn;
    std::string forward;  // may be empty; with a refusal, what preceded the refused request
  };
  // The next bytes from the client.
  Step FromClient(std::string_view bytes);

  // The next bytes from the server, as long as wants_response() says so; they are only looked at.
  // The step's forward is of held client bytes.
  Step FromServer(std::string_view bytes);
  bool wants_response() const { return wants_response_; }

  // The host of the latest request that had one, and why the latest was not let through.
  const std::string& host() const { return host_; }
  const std::string& problem() const { return problem_; }
  // Requests let through.
  uint64_t requests() const { return requests_; }

 private:
  enum class Phase : uint8_t {
    kHead,
    kBody,       // left_ bytes of it
    kChunkSize,  // the digits of a chunk's size
    kChunkSpace,
    kChunkExtension,
    kChunkSizeEnd,  // its LF
    kChunk,         // left_ bytes of it
    kChunkCr,
    kChunkLf,
    kTrailers,
    kHeld,    // until the server has answered the upgrade
    kTunnel,  // it switched
    kEnded    // by ended_
  };
  enum class Upgrade : uint8_t { kNone, kAsked, kSwitched };

  void Run(std::string_view bytes, Step& step);
  void End(Outcome outcome, std::string_view problem, Step& step);
  // The next line of a head or of trailers, into lines_; whether the section is whole.
  bool TakeLine(std::string_view& bytes, size_t limit, Step& step);
  void RunHead(std::string_view& bytes, Step& step);
  void RunTrailers(std::string_view& bytes, Step& step);
  void RunChunkLine(char c, Step& step);
  void EndRequest();
  // The number of the server's status line; 0 when it is none.
  static int Status(std::string_view line);

  Check check_;
  Phase phase_ = Phase::kHead;
  Outcome ended_ = Outcome::kGoOn;
  Upgrade upgrade_ = Upgrade::kNone;
  bool wants_response_ = false;
  std::string lines_;              // of a head or of trailers, as far as they came
  size_t line_begin_ = 0;          // of the present line
  size_t blank_ = 0;               // bytes of blank lines before a head
  uint64_t left_ = 0;              // of a body or chunk
  size_t chunk_line_ = 0;          // bytes of the present one
  std::string held_;               // from the client
  std::string response_;           // the present line of the server's
  size_t response_head_ = 0;       // bytes of the server's looked at
  bool skipping_interim_ = false;  // the rest of the head of a 1xx answer
  std::string host_;
  std::string problem_;
  uint64_t requests_ = 0;
};

}  // namespace cleanroom::doors::wire
