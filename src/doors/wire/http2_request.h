// The header block of one HTTP/2 request, decoded field by field (RFC 9113 8.2 and 8.3): what
// decides to which host it goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "doors/wire/http_syntax.h"

namespace cleanroom::doors::wire {

class Http2Request {
 public:
  // Of all names and values, with 32 for each field (RFC 9113 6.5.2, MAX_HEADER_LIST_SIZE).
  static constexpr size_t kMaxDecoded = 64 << 10;

  enum class Kind : uint8_t { kRequest, kTrailers };
  explicit Http2Request(Kind kind) : kind_(kind) {}

  enum class Verdict : uint8_t { kGood, kNoHost, kMalformed, kUnsupported };
  // The first fault stays: further fields change nothing. False when nothing more need be decoded
  // (the block is too large).
  bool Add(std::string_view name, std::string_view value);
  Verdict Finish();

  const Authority& authority() const { return *host_; }  // of a good request
  const std::string& problem() const { return problem_; }

 private:
  void AddPseudo(std::string_view name, std::string_view value);
  void AddField(std::string_view name, std::string_view value);
  void AddHost(std::string_view value, bool& seen);
  void Fault(Verdict verdict, std::string_view problem);

  Kind kind_;
  Verdict verdict_ = Verdict::kGood;
  size_t decoded_ = 0;
  bool field_seen_ = false;  // pseudo-header fields come before all others
  bool authority_seen_ = false;
  bool host_seen_ = false;
  bool length_seen_ = false;
  std::optional<std::string> method_;
  std::optional<std::string> path_;
  bool scheme_seen_ = false;
  std::optional<Authority> host_;
  std::string problem_;
};

}  // namespace cleanroom::doors::wire
