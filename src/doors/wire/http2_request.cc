#include "doors/wire/http2_request.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cleanroom::doors::wire {

void Http2Request::Fault(Verdict verdict, std::string_view problem) {
  if (verdict_ != Verdict::kGood) return;
  verdict_ = verdict;
  problem_ = problem;
}

bool Http2Request::Add(std::string_view name, std::string_view value) {
  constexpr size_t kPerField = 32;
  decoded_ += name.size() + value.size() + kPerField;
  if (decoded_ > kMaxDecoded) {
    Fault(Verdict::kMalformed, "an HTTP/2 header block larger than 64 KiB");
    return false;
  }
  if (!IsFieldValue(value) || TrimSpace(value).size() != value.size()) {
    Fault(Verdict::kMalformed, "an HTTP/2 field value with a control character or outer spaces");
  } else if (name.starts_with(':')) {
    AddPseudo(name, value);
  } else {
    AddField(name, value);
  }
  return true;
}

void Http2Request::AddPseudo(std::string_view name, std::string_view value) {
  bool again = false;
  if (kind_ == Kind::kTrailers || field_seen_) {
    return Fault(Verdict::kMalformed, "an HTTP/2 pseudo-header field out of place");
  }
  if (name == ":method") {
    again = method_.has_value();
    method_ = value;
    if (!IsToken(value)) Fault(Verdict::kMalformed, "an HTTP/2 method that is no token");
  } else if (name == ":path") {
    again = path_.has_value();
    path_ = value;
  } else if (name == ":scheme") {
    again = std::exchange(scheme_seen_, true);
    if (value != "http" && value != "https") {
      Fault(Verdict::kMalformed, "an HTTP/2 scheme other than http and https");
    }
  } else if (name == ":authority") {
    again = authority_seen_;
    if (!again) AddHost(value, authority_seen_);
  } else if (name == ":protocol") {
    Fault(Verdict::kUnsupported, "the HTTP/2 extended CONNECT");
  } else {
    Fault(Verdict::kMalformed, "an unknown HTTP/2 pseudo-header field");
  }
  if (again) Fault(Verdict::kMalformed, "an HTTP/2 pseudo-header field that occurs twice");
}

void Http2Request::AddField(std::string_view name, std::string_view value) {
  static constexpr std::array<std::string_view, 5> kConnection{
      "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"};
  field_seen_ = true;
  if (!IsToken(name) || std::ranges::any_of(name, [](char c) { return c >= 'A' && c <= 'Z'; })) {
    return Fault(Verdict::kMalformed, "an HTTP/2 field name that is no lower-case token");
  }
  if (std::ranges::find(kConnection, name) != kConnection.end() ||
      (name == "te" && value != "trailers")) {
    return Fault(Verdict::kMalformed, "an HTTP/2 field that belongs to a connection");
  }
  if (name == "host") {
    if (kind_ == Kind::kTrailers || host_seen_) {
      return Fault(Verdict::kMalformed, "an HTTP/2 Host out of place or more than one");
    }
    AddHost(value, host_seen_);
  } else if (name == "content-length") {
    if (kind_ == Kind::kTrailers || std::exchange(length_seen_, true) || !ParseLength(value)) {
      Fault(Verdict::kMalformed, "an HTTP/2 content-length that is no number, or more than one");
    }
  }
}

void Http2Request::AddHost(std::string_view value, bool& seen) {
  seen = true;
  if (value.empty()) return Fault(Verdict::kNoHost, "an HTTP/2 request with an empty host");
  const auto host = ParseAuthority(value);
  if (!host) return Fault(Verdict::kMalformed, "an HTTP/2 host that is not host[:port]");
  if (host_ && !host_->SameAs(*host)) {
    return Fault(Verdict::kMalformed, "an HTTP/2 request whose :authority and Host differ");
  }
  if (!host_) host_ = host;
}

Http2Request::Verdict Http2Request::Finish() {
  if (kind_ == Kind::kTrailers || verdict_ != Verdict::kGood) return verdict_;
  if (method_ == "CONNECT") {
    Fault(Verdict::kUnsupported, "the HTTP/2 method CONNECT");
  } else if (!method_ || !scheme_seen_ || !path_) {
    Fault(Verdict::kMalformed, "an HTTP/2 request without :method, :scheme or :path");
  } else if (!IsRequestTarget(*path_) ||
             !(path_->starts_with('/') || (*path_ == "*" && method_ == "OPTIONS"))) {
    Fault(Verdict::kMalformed, "an HTTP/2 :path that is no path");
  } else if (!host_) {
    Fault(Verdict::kNoHost, "an HTTP/2 request without :authority or Host");
  }
  return verdict_;
}

}  // namespace cleanroom::doors::wire
