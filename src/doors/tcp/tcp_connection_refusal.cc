// What a connection is refused for, how the guest is told, and what is recorded.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "doors/tcp/tcp_connection.h"
#include "doors/wire/refusal.h"
#include "net/host_name.h"

namespace cleanroom::doors {
namespace {

using policy::Protocol;

constexpr unsigned char kAlertAccessDenied = 49;
constexpr unsigned char kAlertDecodeError = 50;
constexpr unsigned char kAlertInternalError = 80;
constexpr unsigned char kAlertUnrecognizedName = 112;
constexpr char kTlsHandshake = 0x16;
// For bytes that are in the socket already.
constexpr std::chrono::milliseconds kLastWords{1};

bool IsUpstreamFailure(Code code) {
  return code == Code::kUpstreamFailed || code == Code::kResolverFailed;
}

unsigned char AlertFor(Code code) {
  if (IsUpstreamFailure(code)) return kAlertInternalError;
  if (code == Code::kMalformed) return kAlertDecodeError;
  if (code == Code::kNameMissing) return kAlertUnrecognizedName;
  return kAlertAccessDenied;
}

std::string HttpMessage(const Verdict& verdict) {
  return wire::HttpRefusal(IsUpstreamFailure(verdict.code) ? "502 Bad Gateway" : "403 Forbidden",
                           ToString(verdict.code), verdict.message);
}

std::string Http2Body(const Verdict& verdict) {
  return fmt::format("{}: {}\n", ToString(verdict.code), verdict.message);
}

}  // namespace

std::vector<NameMemory::Name> TcpConnection::AllowedNames() {
  auto names = parts_.memory.Lookup(wanted_.address, Clock::now());
  std::erase_if(names, [this](const NameMemory::Name& name) {
    return !parts_.rules.CheckName(name.name, wanted_.port, Protocol::kTcp).allowed();
  });
  return names;
}

std::optional<std::string> TcpConnection::FreshName() {
  for (const NameMemory::Name& name : AllowedNames()) {
    if (!name.fresh) continue;
    const Verdict verdict =
        parts_.rules.CheckTarget(name.name, wanted_.address, wanted_.port, Protocol::kTcp);
    if (verdict.allowed()) return name.name;
  }
  return std::nullopt;
}

bool TcpConnection::Remembered(const std::string& name) {
  const auto names = AllowedNames();
  return std::any_of(names.begin(), names.end(),
                     [&](const NameMemory::Name& known) { return known.name == name; });
}

bool TcpConnection::CheckRequest(std::string_view host, uint16_t port) {
  request_.asked = true;
  const auto normal = net::NormalizeWireHost(host);
  request_.host = normal ? *normal : "";
  request_.verdict = RequestVerdict(host, port);
  if (!request_.verdict.allowed()) return false;
  if (!admitted_) {
    admitted_ = true;
    pinned_ = request_.host;
    shown_ = request_.host;
  }
  return true;
}

bool TcpConnection::NoteRequest(std::string_view host) {
  request_.asked = true;
  const auto normal = net::NormalizeWireHost(host);
  request_.host = normal ? *normal : "";
  return false;
}

void TcpConnection::NoteShownName() {
  if (opening_.kind() == Kind::kTls) {
    NoteRequest(opening_.sniffed().server_name);
    encrypted_hello_ = opening_.sniffed().encrypted_hello;
  } else if (opening_.kind() == Kind::kHttp1) {
    const Http1::Check note = [this](std::string_view host, uint16_t) { return NoteRequest(host); };
    Http1 inspector(note);
    (void)inspector.FromClient(opening_.bytes());
  } else if (opening_.kind() == Kind::kHttp2) {
    const Http2::Check note = [this](std::string_view host, uint16_t) { return NoteRequest(host); };
    Http2 inspector(note);
    (void)inspector.FromClient(opening_.bytes());
  }
  shown_ = request_.host;
}

Verdict TcpConnection::RequestVerdict(std::string_view host, uint16_t port) {
  Verdict by_name = parts_.rules.CheckName(host, wanted_.port, Protocol::kTcp);
  if (by_address_.allowed()) {
    return by_name.code == Code::kDeniedByRule ? by_name : by_address_;
  }
  if (const auto literal = net::IpAddress::Parse(host)) {
    Verdict verdict = parts_.rules.CheckAddress(*literal, wanted_.port, Protocol::kTcp);
    if (!verdict.allowed()) return verdict;
    return {Code::kNameMismatch,
            0,
            fmt::format("a request for {} on a connection to {}", host, wanted_.ToString()),
            {}};
  }
  if (!by_name.allowed()) return by_name;
  if (port != 0 && port != wanted_.port) {
    return {Code::kNameMismatch,
            0,
            fmt::format("a request for {}:{} on a connection to port {}", request_.host, port,
                        wanted_.port),
            {}};
  }
  if (admitted_ && request_.host != pinned_) {
    return {
        Code::kNameMismatch,
        0,
        fmt::format("a request for {} on a connection that leads to {}", request_.host, pinned_),
        {}};
  }
  return by_name;
}

bool TcpConnection::AdmitAfterServer(const wire::Sniffed& sniffed) {
  const bool http = sniffed.kind == Kind::kHttp1 || sniffed.kind == Kind::kHttp2;
  Verdict verdict{Code::kAllowed, 0, "", {}};
  std::string host = name_;
  if (sniffed.kind == Kind::kTls) {
    const auto normal = net::NormalizeWireHost(sniffed.server_name);
    shown_ = normal ? *normal : "";
    host = shown_;
    encrypted_hello_ = sniffed.encrypted_hello;
    Verdict by_name = parts_.rules.CheckName(sniffed.server_name, wanted_.port, Protocol::kTcp);
    if (by_address_.allowed()) {
      if (by_name.code == Code::kDeniedByRule) verdict = std::move(by_name);
    } else if (!by_name.allowed()) {
      verdict = std::move(by_name);
    } else if (!Remembered(shown_)) {
      verdict = {Code::kNameMismatch,
                 0,
                 fmt::format("TLS for {} on a connection that leads to {}", shown_, name_),
                 {}};
    } else {
      name_ = shown_;
    }
  } else if (!by_address_.allowed() || parts_.rules.denies_names()) {
    if (http) {
      verdict = {Code::kNameMismatch,
                 0,
                 fmt::format("HTTP to {} after its server had spoken first", wanted_.ToString()),
                 {}};
    } else if (sniffed.kind == Kind::kMalformed) {
      verdict = {
          Code::kMalformed,
          0,
          fmt::format("what was sent to {} is malformed: {}", wanted_.ToString(), sniffed.problem),
          {}};
    }
  }
  if (verdict.allowed()) {
    RecordPass();
    return true;
  }
  if (relay_->received() > 0) RecordPass();
  refused_ = true;
  Record(verdict, host);
  return false;
}

template <typename Outcome>
Verdict TcpConnection::OutcomeVerdict(Outcome outcome, const std::string& problem) const {
  switch (outcome) {
    case Outcome::kRefused:
      return request_.verdict;
    case Outcome::kNoHost:
      return {Code::kNameMissing, 0,
              fmt::format("an HTTP request to {} without a host, so there is nothing to check",
                          wanted_.ToString()),
              SuggestAddress(wanted_.address, wanted_.port, Protocol::kTcp)};
    case Outcome::kUnsupported:
      return {Code::kUnsupported,
              0,
              fmt::format("an HTTP request to {} that is not passed on: {}", wanted_.ToString(),
                          problem),
              {}};
    default:
      return {Code::kMalformed,
              0,
              fmt::format("an HTTP request to {} is malformed: {}", wanted_.ToString(), problem),
              {}};
  }
}
template Verdict TcpConnection::OutcomeVerdict(Http1::Outcome, const std::string&) const;
template Verdict TcpConnection::OutcomeVerdict(Http2::Outcome, const std::string&) const;

std::string TcpConnection::RefuseHttp1(Http1::Outcome outcome) {
  const Verdict verdict = OutcomeVerdict(outcome, http1_->problem());
  Record(verdict, request_.host);
  return HttpMessage(verdict);
}

std::string TcpConnection::RefuseHttp2(Http2::Outcome outcome) {
  const Verdict verdict = OutcomeVerdict(outcome, http2_->problem());
  Record(verdict, request_.host);
  return http2_->Refusal(ToString(verdict.code), Http2Body(verdict));
}

void TcpConnection::Record(const Verdict& verdict, const std::string& host) {
  Decision decision;
  decision.service = Service::kTcp;
  decision.protocol = Protocol::kTcp;
  decision.host = host;
  decision.address = wanted_.address;
  decision.port = wanted_.port;
  decision.code = verdict.code;
  decision.message = verdict.message;
  if (encrypted_hello_) decision.message += " (the name inside the encrypted hello is not known)";
  decision.suggestion = verdict.suggestion;
  decision.line = verdict.line;
  parts_.sink.Record(decision);
}

void TcpConnection::RecordPass() {
  if (refused_ || !opened_) return;
  const std::string& host = name_.empty() ? shown_ : name_;
  if (recorded_ && (*recorded_ == host || host.empty())) return;
  recorded_ = host;
  Verdict verdict = by_address_;
  if (!name_.empty()) {
    verdict = parts_.rules.CheckName(name_, wanted_.port, Protocol::kTcp);
    // The stage changed before the pass was recorded.
    if (!verdict.allowed()) verdict = {Code::kAllowed, 0, name_ + " was allowed", {}};
  }
  Record(verdict, host);
}

TcpConnection::Clock::time_point TcpConnection::ExplainDeadline() const {
  return std::max(accepted_at_ + parts_.config.explain, Clock::now() + kLastWords);
}

Awaitable<void> TcpConnection::Refuse(Verdict verdict, std::string host) {
  refused_ = true;
  Record(verdict, host);
  if (opening_.kind() == Kind::kNeedMore && opening_.empty() && guest_.open()) {
    // What the guest is about to say tells in which protocol to refuse.
    (void)co_await opening_.Listen(guest_, ExplainDeadline(), parts_.config.explain);
  }
  const std::string& bytes = opening_.bytes();
  const char first = bytes.empty() ? '\0' : bytes.front();
  std::string message;
  switch (opening_.kind()) {
    case Kind::kTls:
      message = wire::TlsAlert(AlertFor(verdict.code));
      break;
    case Kind::kHttp1:
      message = HttpMessage(verdict);
      break;
    case Kind::kHttp2:
      if (http2_refused_) message = http2_->Refusal(ToString(verdict.code), Http2Body(verdict));
      break;
    case Kind::kMalformed:
      if (first == kTlsHandshake) message = wire::TlsAlert(kAlertDecodeError);
      if (std::isalpha(static_cast<unsigned char>(first)) != 0) message = HttpMessage(verdict);
      break;
    case Kind::kOpaque:
    case Kind::kNeedMore:
      break;
  }
  if (upstream_) upstream_->Reset();
  if (message.empty()) {
    guest_.Reset();
    co_return;
  }
  co_await guest_.CloseAfter(std::move(message));
}

}  // namespace cleanroom::doors
