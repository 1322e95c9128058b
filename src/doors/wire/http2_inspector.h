// Http2Inspector: follows a cleartext HTTP/2 connection (prior knowledge, RFC 9113 3.3) so that
// every stream is checked by its :authority (or Host) before its frames go on.
//
// Client frames pass unchanged, whole header blocks at a time. HPACK is decoded by nghttp2; the
// server's frames are looked at only for their headers (lengths, SETTINGS_HEADER_TABLE_SIZE), so
// that a refusal can be put between two of them. They must be seen here before the client sees
// them: what the client may do follows from the SETTINGS it has acknowledged.
//
// The second HEADERS of a stream are trailers and name no host; HEADERS for a stream number below
// the latest count as such, for no server opens a stream by them (RFC 9113 5.1.1). Frames of
// unknown types pass, but not within a header block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace cleanroom::doors::wire {

class Http2Inspector {
 public:
  static constexpr size_t kMaxHeaderBlock = 64 << 10;  // of one request, compressed and decoded
  static constexpr size_t kMaxFrame = (1 << 24) - 1;   // passed through in pieces, never held
  static constexpr size_t kMaxContinuations = 64;
  static constexpr size_t kMaxSettings = 64;   // of the server's, not yet acknowledged
  static constexpr size_t kMaxBody = 8 << 10;  // of a refusal; more is cut

  using Check = std::function<bool(std::string_view host, uint16_t port)>;
  explicit Http2Inspector(Check check);
  ~Http2Inspector();

  enum class Outcome { kGoOn, kRefused, kNoHost, kMalformed, kUnsupported };
  struct Step {
    Outcome outcome = Outcome::kGoOn;
    std::string forward;
  };
  // The next bytes from the client, the preface included.
  Step FromClient(std::string_view bytes);
  // The next bytes from the server; all of them are to be forwarded.
  void FromServer(std::string_view bytes);

  // After a refusal: the stream it concerns (0: the whole connection), and whether the server's
  // bytes so far end at a frame boundary, where Refusal() may be written to the client.
  uint32_t stream() const;
  bool at_server_boundary() const;
  // Frames for the client: HEADERS with :status 403 and x-cleanroom-reason-code, DATA with `body`,
  // then GOAWAY. Before the server has sent its SETTINGS they are preceded by an empty one.
  std::string Refusal(std::string_view reason_code, std::string_view body) const;

  const std::string& host() const;
  const std::string& problem() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cleanroom::doors::wire
