// Http1Inspector: follows the requests of one HTTP/1 connection, so that each is checked by its
// host before any byte of it goes on. Bytes pass unchanged or not at all.
//
// It reads what RFC 9112 allows and no more: no ambiguous framing (Content-Length with
// Transfer-Encoding, differing lengths, a coding other than a final chunked), no bare CR or LF in a
// head, no folded lines, no space before a colon, exactly one Host (HTTP/1.0 may have none: then
// the request is refused as one without a name), and an absolute-form target must name the same
// host as Host. CONNECT is refused. A request that asks for an upgrade passes only as the first of
// a connection; what follows it waits until ResponseHead says whether the server switched.
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
  static constexpr size_t kMaxHeld = 64 << 10;  // bytes that wait for the answer to an upgrade

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

  // The host of the latest request, and why it was not let through.
  const std::string& host() const { return host_; }
  const std::string& problem() const { return problem_; }
  // Requests let through.
  uint64_t requests() const { return requests_; }

 private:
  Check check_;
  bool wants_response_ = false;
  std::string host_;
  std::string problem_;
  uint64_t requests_ = 0;
};

}  // namespace cleanroom::doors::wire
