#include "doors/tcp/tcp_connection.h"

#include <fmt/format.h>

#include <algorithm>

#include "doors/rules/why_refused.h"
#include "doors/tcp/inspected_relay.h"
#include "net/host_name.h"

namespace cleanroom::doors {
namespace {

using policy::Protocol;

// The door must be done with a silent connection within 50 ms; this is when it gives up waiting.
constexpr std::chrono::milliseconds kSilence{45};
// Bytes of HTTP/2 (or a head of HTTP/1) taken before there is a request to check.
constexpr size_t kMaxBeforeRequest = 128 << 10;

}  // namespace

TcpConnection::TcpConnection(const asio::any_io_executor& executor, TcpParts parts, os::UniqueFd fd,
                             net::Endpoint wanted, std::function<void()> decided)
    : parts_(parts),
      guest_(executor, std::move(fd)),
      wanted_(wanted),
      decided_(std::move(decided)),
      accepted_at_(Clock::now()) {}

TcpConnection::~TcpConnection() = default;

void TcpConnection::LeaveUndecided() {
  if (decided_) std::exchange(decided_, nullptr)();
}

Awaitable<void> TcpConnection::Run() {
  co_await Decide();
  LeaveUndecided();
  if (ahead_) co_await ahead_->Stop();
  guest_.Close();
  if (upstream_) upstream_->Close();
  if (opened_) {
    Report();
    parts_.sink.Opened(Service::kTcp, -1);
  }
}

Awaitable<void> TcpConnection::Decide() {
  by_address_ = parts_.rules.CheckAddress(wanted_.address, wanted_.port, Protocol::kTcp);
  if (by_address_.allowed()) {
    co_await PassByAddress();
    co_return;
  }
  if (NoNameHelps(by_address_.code) || AllowedNames().empty()) {
    co_await Explain();
    co_return;
  }
  co_await PassByName();
}

Awaitable<void> TcpConnection::PassByAddress() {
  LeaveUndecided();
  const bool dialled = co_await DialWanted("");
  if (!dialled) co_return;
  const bool strict = parts_.rules.denies_names();
  const First first = co_await WhoSpeaksFirst();
  if (first == First::kBroken) co_return;
  if (first == First::kServer) {
    co_await CarryServerFirst();
    co_return;
  }
  const auto limit =
      strict ? std::chrono::milliseconds(Opening::kTimeLimit) : parts_.config.address_hello;
  const auto heard = co_await opening_.Listen(guest_, Clock::time_point::max(), limit);
  if (heard == Opening::Heard::kBroken) co_return;
  if (strict) {
    co_await PassOpening();
    co_return;
  }
  NoteShownName();
  auto relay = std::make_unique<Relay>(guest_, *upstream_, parts_.pipes, opening_.Take());
  co_await Carry(std::move(relay));
}

// The guest's first words are still checked when they come.
Awaitable<void> TcpConnection::CarryServerFirst() {
  const GatedRelay::Admit admit = [this](const wire::Sniffed& sniffed) {
    return AdmitAfterServer(sniffed);
  };
  auto relay = std::make_unique<GatedRelay>(guest_, *upstream_, parts_.pipes, admit);
  co_await Carry(std::move(relay));
}

Awaitable<void> TcpConnection::PassByName() {
  auto heard =
      co_await opening_.Listen(guest_, accepted_at_ + parts_.config.ahead, Opening::kTimeLimit);
  const auto fresh = FreshName();
  if (heard == Opening::Heard::kSilent && !fresh) {
    heard = co_await opening_.Listen(guest_, accepted_at_ + kSilence, Opening::kTimeLimit);
  } else if (heard == Opening::Heard::kSilent) {
    const First first = co_await DialAhead(*fresh);
    if (first == First::kBroken) co_return;
    if (first == First::kServer) {
      LeaveUndecided();
      co_await CarryServerFirst();
      co_return;
    }
    const auto quiet_until = unreachable_ ? ExplainDeadline() : Clock::time_point::max();
    heard = co_await opening_.Listen(guest_, quiet_until, Opening::kTimeLimit);
    if (unreachable_ && heard == Opening::Heard::kSilent) {
      co_await Refuse(*unreachable_, *fresh);
      co_return;
    }
  }
  if (heard == Opening::Heard::kBroken) co_return;
  co_await PassOpening();
}

Awaitable<void> TcpConnection::PassOpening() {
  switch (opening_.kind()) {
    case Kind::kTls:
      co_await PassTls();
      co_return;
    case Kind::kHttp1:
      co_await PassHttp1();
      co_return;
    case Kind::kHttp2:
      co_await PassHttp2();
      co_return;
    case Kind::kOpaque:
      co_await PassOpaque();
      co_return;
    case Kind::kMalformed: {
      Verdict verdict{Code::kMalformed,
                      0,
                      fmt::format("what was sent to {} is malformed: {}", wanted_.ToString(),
                                  opening_.sniffed().problem),
                      {}};
      co_await Refuse(std::move(verdict), "");
      co_return;
    }
    case Kind::kNeedMore:
      break;
  }
  if (opening_.empty()) {
    co_await PassOpaque();
    co_return;
  }
  Verdict verdict{
      Code::kLimitExceeded,
      0,
      fmt::format("the first message to {} was not complete in time", wanted_.ToString()),
      {}};
  co_await Refuse(std::move(verdict), "");
}

Awaitable<void> TcpConnection::PassTls() {
  const std::string& sent = opening_.sniffed().server_name;
  encrypted_hello_ = opening_.sniffed().encrypted_hello;
  const auto normal = net::NormalizeWireHost(sent);
  Verdict verdict = parts_.rules.CheckName(sent, wanted_.port, Protocol::kTcp);
  if (by_address_.allowed()) {
    if (verdict.code != Code::kDeniedByRule) verdict = by_address_;
  } else if (sent.empty()) {
    verdict = {Code::kNameMissing, 0,
               fmt::format("TLS to {} without a server name, so there is nothing to check",
                           wanted_.ToString()),
               SuggestAddress(wanted_.address, wanted_.port, Protocol::kTcp)};
  }
  if (normal) shown_ = *normal;
  if (!verdict.allowed()) {
    co_await Refuse(std::move(verdict), shown_);
    co_return;
  }
  if (!by_address_.allowed()) {
    const bool dialled = co_await DialName(shown_);
    if (!dialled) co_return;
  }
  auto relay = std::make_unique<Relay>(guest_, *upstream_, parts_.pipes, opening_.Take());
  co_await Carry(std::move(relay));
}

template <typename Inspector>
Awaitable<std::optional<typename Inspector::Step>> TcpConnection::ReadRequest(
    Inspector& inspector, Clock::time_point deadline) {
  using Outcome = typename Inspector::Outcome;
  std::string bytes = opening_.Take();
  size_t fed = bytes.size();
  typename Inspector::Step all = inspector.FromClient(bytes);
  while (all.outcome == Outcome::kGoOn && !request_.asked) {
    if (fed >= kMaxBeforeRequest) co_return std::nullopt;
    auto& scratch = parts_.pipes.scratch();
    const auto moved = guest_.Read(std::span(scratch).first(4096));
    if (moved.status == Stream::Status::kMoved) {
      fed += moved.count;
      auto step = inspector.FromClient({scratch.data(), moved.count});
      all.outcome = step.outcome;
      all.forward += step.forward;
      continue;
    }
    if (moved.status != Stream::Status::kWouldBlock) co_return std::nullopt;
    const auto ready = co_await guest_.ReadyBy(Stream::Wait::wait_read, deadline);
    if (!ready) co_return std::nullopt;
  }
  co_return std::move(all);
}

Awaitable<void> TcpConnection::Explain() {
  const auto deadline = accepted_at_ + parts_.config.explain;
  (void)co_await opening_.Listen(guest_, deadline, parts_.config.explain);
  if (opening_.kind() == Kind::kTls) {
    const auto normal = net::NormalizeWireHost(opening_.sniffed().server_name);
    if (normal) shown_ = *normal;
    encrypted_hello_ = opening_.sniffed().encrypted_hello;
  } else if (opening_.kind() == Kind::kHttp1) {
    const Http1::Check note = [this](std::string_view host, uint16_t) { return NoteRequest(host); };
    http1_ = std::make_unique<Http1>(note);
    const auto step = co_await ReadRequest(*http1_, deadline);
    (void)step;
    shown_ = request_.host;
  } else if (opening_.kind() == Kind::kHttp2) {
    const Http2::Check note = [this](std::string_view host, uint16_t) { return NoteRequest(host); };
    http2_ = std::make_unique<Http2>(note);
    const auto step = co_await ReadRequest(*http2_, deadline);
    http2_refused_ = step && step->outcome == Http2::Outcome::kRefused;
    shown_ = request_.host;
  }
  std::string host;
  Verdict verdict =
      WhyRefused(parts_.rules, parts_.memory, by_address_, wanted_, Protocol::kTcp, shown_, host);
  co_await Refuse(std::move(verdict), std::move(host));
}

Awaitable<void> TcpConnection::PassHttp1() {
  const Http1::Check check = [this](std::string_view host, uint16_t port) {
    return CheckRequest(host, port);
  };
  http1_ = std::make_unique<Http1>(check);
  auto step = co_await ReadRequest(*http1_, Clock::now() + Opening::kTimeLimit);
  if (!step) {
    Verdict verdict{Code::kLimitExceeded,
                    0,
                    fmt::format("no whole HTTP request head to {} in time", wanted_.ToString()),
                    {}};
    co_await Refuse(std::move(verdict), "");
    co_return;
  }
  if (!admitted_) {
    Verdict verdict = OutcomeVerdict(step->outcome, http1_->problem());
    co_await Refuse(std::move(verdict), request_.host);
    co_return;
  }
  const bool dialled = co_await DialPinned();
  if (!dialled) co_return;
  const Http1Relay::Refuse refuse = [this](Http1::Outcome outcome) { return RefuseHttp1(outcome); };
  auto relay = std::make_unique<Http1Relay>(guest_, *upstream_, parts_.pipes, *http1_,
                                            *std::move(step), refuse);
  co_await Carry(std::move(relay));
}

Awaitable<void> TcpConnection::PassHttp2() {
  const Http2::Check check = [this](std::string_view host, uint16_t port) {
    return CheckRequest(host, port);
  };
  http2_ = std::make_unique<Http2>(check);
  auto step = co_await ReadRequest(*http2_, Clock::now() + Opening::kTimeLimit);
  if (!step) {
    Verdict verdict{Code::kLimitExceeded,
                    0,
                    fmt::format("no whole HTTP/2 request to {} in time", wanted_.ToString()),
                    {}};
    co_await Refuse(std::move(verdict), "");
    co_return;
  }
  if (!admitted_ || step->outcome != Http2::Outcome::kGoOn) {
    http2_refused_ = step->outcome == Http2::Outcome::kRefused;
    Verdict verdict = OutcomeVerdict(step->outcome, http2_->problem());
    co_await Refuse(std::move(verdict), request_.host);
    co_return;
  }
  const bool dialled = co_await DialPinned();
  if (!dialled) co_return;
  const Http2Relay::Refuse refuse = [this](Http2::Outcome outcome) { return RefuseHttp2(outcome); };
  auto relay = std::make_unique<Http2Relay>(guest_, *upstream_, parts_.pipes, *http2_,
                                            std::move(step->forward), refuse);
  co_await Carry(std::move(relay));
}

Awaitable<void> TcpConnection::PassOpaque() {
  if (!upstream_ && unreachable_) {
    const auto names = AllowedNames();
    const std::string host = names.empty() ? "" : names.front().name;
    co_await Refuse(*unreachable_, host);
    co_return;
  }
  if (!upstream_) {
    const auto fresh = FreshName();
    if (!fresh) {
      Verdict verdict{Code::kAddressNotResolved, 0,
                      fmt::format("the answer that gave {} is too old for a protocol that shows no "
                                  "name: resolve the name again",
                                  wanted_.address.ToString()),
                      SuggestAddress(wanted_.address, wanted_.port, Protocol::kTcp)};
      const auto names = AllowedNames();
      const std::string host = names.empty() ? "" : names.front().name;
      co_await Refuse(std::move(verdict), host);
      co_return;
    }
    const bool dialled = co_await DialWanted(*fresh);
    if (!dialled) co_return;
  }
  auto relay = std::make_unique<Relay>(guest_, *upstream_, parts_.pipes, opening_.Take());
  co_await Carry(std::move(relay));
}

Awaitable<void> TcpConnection::Carry(std::unique_ptr<Relay> relay) {
  relay_ = std::move(relay);
  // A relay that waits for the guest's first words is recorded when they are known.
  if (dynamic_cast<GatedRelay*>(relay_.get()) == nullptr) RecordPass();
  co_await relay_->Run();
  RecordPass();
}

void TcpConnection::Report() {
  if (!opened_) return;
  RecordPass();
  if (!relay_) return;
  const uint64_t sent = relay_->sent() - reported_sent_;
  const uint64_t received = relay_->received() - reported_received_;
  if (sent == 0 && received == 0) return;
  reported_sent_ += sent;
  reported_received_ += received;
  parts_.sink.Transferred(Service::kTcp, sent, received);
}

void TcpConnection::Recheck() {
  if (!dialled_ || !guest_.open()) return;
  Verdict verdict;
  if (!name_.empty()) {
    verdict = parts_.rules.CheckTarget(name_, dialled_->address, dialled_->port, Protocol::kTcp);
  } else {
    verdict = parts_.rules.CheckAddress(wanted_.address, wanted_.port, Protocol::kTcp);
    if (verdict.allowed() && !shown_.empty()) {
      Verdict by_name = parts_.rules.CheckName(shown_, wanted_.port, Protocol::kTcp);
      if (by_name.code == Code::kDeniedByRule) verdict = std::move(by_name);
    }
  }
  if (verdict.allowed()) return;
  RecordPass();
  verdict.message += " in this stage";
  refused_ = true;
  Record(verdict, name_.empty() ? shown_ : name_);
  Abort();
}

void TcpConnection::Abort() {
  guest_.Reset();
  if (upstream_) upstream_->Reset();
}

void TcpConnection::RefuseLimit(std::string message) {
  refused_ = true;
  Record({Code::kLimitExceeded, 0, std::move(message), {}}, "");
  Abort();
}

}  // namespace cleanroom::doors
