// TcpConnection: one TCP connection of the guest, from the moment it is accepted until it ends.
//
// What lets it pass, in this order:
//  1. the wanted address by itself, by a cidr rule or allow-all: that address is dialled, whatever
//     the connection speaks. A TLS or HTTP name that a deny rule covers is refused all the same;
//     where the policy denies names, what looks like TLS or HTTP must also be readable.
//  2. a remembered name: the wanted address was an answer to a name that the policy allows on this
//     port. Then what the guest says first counts:
//      - TLS and HTTP show a name. It must be allowed on this port, and it is what is dialled, by
//        its own resolution; the wanted address only if it is among what that gave. The first host
//        of an HTTP connection is where it leads; each later request must name it again.
//      - anything else reaches the wanted address, if the answer is still fresh.
//      - silence for config.ahead (the server speaks first, or the guest is slow): the wanted
//        address is dialled, if fresh, while the guest is still listened to, and the side that
//        speaks first decides. A guest that shows a name is treated as if it had done so at once:
//        where the name leads here too, the attempt under way is the first of those for it, and
//        where it does not, or the attempt has failed, nothing was lost. After the server has
//        spoken, only a TLS name that the wanted address was an answer to passes, and HTTP not at
//        all.
// Everything else is refused: within config.explain of its first bytes a TLS client gets an alert,
// an HTTP client a 403, both with the reason; others are reset.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "doors/flow/pump.h"
#include "doors/flow/stream.h"
#include "doors/rules/decision.h"
#include "doors/rules/name_memory.h"
#include "doors/rules/rules.h"
#include "doors/tcp/dialer.h"
#include "doors/tcp/opening.h"
#include "doors/tcp/relay.h"
#include "doors/wire/http1_inspector.h"
#include "doors/wire/http2_inspector.h"
#include "net/socket_address.h"

namespace cleanroom::doors {

struct TcpConnectionConfig {
  // Without a byte from the guest for so long, the server may be the one to speak first: the wanted
  // address is dialled ahead, and the server's first bytes are passed on.
  std::chrono::milliseconds ahead{1};
  // A guest that is silent for so long waits for the server: the connection no longer counts as
  // undecided, and a server that only hangs up is passed on too.
  std::chrono::milliseconds quiet{20};
  // So long may a refusal wait for bytes that say in which protocol to refuse.
  std::chrono::milliseconds explain{30};
  // Bytes that look like the beginning of a hello pass as they are after so long, where an address
  // is allowed by itself and no name is denied.
  std::chrono::milliseconds address_hello{200};
};

// What the door's connections share. All of it outlives them.
struct TcpParts {
  const TcpConnectionConfig& config;
  const Rules& rules;
  NameMemory& memory;
  Dialer& dialer;
  PipePool& pipes;
  DecisionSink& sink;
};

class TcpConnection {
 public:
  using Clock = std::chrono::steady_clock;

  // `decided` is called once, when the connection leaves the undecided state.
  TcpConnection(const asio::any_io_executor& executor, TcpParts parts, os::UniqueFd fd,
                net::Endpoint wanted, std::function<void()> decided);
  ~TcpConnection();

  Awaitable<void> Run();

  bool undecided() const { return decided_ != nullptr; }
  Clock::time_point accepted_at() const { return accepted_at_; }
  Stream& guest() { return guest_; }
  const net::Endpoint& wanted() const { return wanted_; }

  // Reports the bytes moved since the last call, and a decision that waits for a name to show.
  void Report();
  // Cuts it when the rules no longer allow it.
  void Recheck();
  // Ends it at once, with a reset; RefuseLimit also records kLimitExceeded.
  void Abort();
  void RefuseLimit(std::string message);

 private:
  using Kind = wire::Sniffed::Kind;
  using Http1 = wire::Http1Inspector;
  using Http2 = wire::Http2Inspector;
  enum class First { kGuest, kServer, kBroken };

  Awaitable<void> Decide();
  Awaitable<void> PassByAddress();
  Awaitable<void> PassByName();
  // With the upstream that DialAhead dialled, if any.
  Awaitable<void> PassOpening();
  Awaitable<void> PassTls();
  Awaitable<void> PassHttp1();
  Awaitable<void> PassHttp2();
  Awaitable<bool> DialPinned();
  Awaitable<void> PassOpaque();
  Awaitable<void> Explain();
  // The name that the opening shows, for the record only.
  void NoteShownName();

  // Feeds the inspector until its check was asked; nothing when the guest broke off or was late.
  template <typename Inspector>
  Awaitable<std::optional<typename Inspector::Step>> ReadRequest(Inspector& inspector,
                                                                 Clock::time_point deadline);

  // False after refusing the connection.
  Awaitable<bool> DialWanted(std::string name);
  Awaitable<bool> DialName(std::string name);
  Awaitable<bool> Connect(std::vector<net::Endpoint> targets, std::string name);
  // Why there is no connection, if there is none; the guest is told nothing.
  Awaitable<std::optional<Verdict>> TryConnect(std::vector<net::Endpoint> targets,
                                               std::string name);
  Awaitable<First> WhoSpeaksFirst();
  // Dials the wanted address until somebody speaks; kGuest also when it cannot be reached, which
  // unreachable_ then says.
  Awaitable<First> DialAhead(std::string name);
  // Waits for whoever may decide next. `hung_up`: the server has nothing more to say.
  Awaitable<void> WaitForNews(bool hung_up, Clock::time_point until);
  Awaitable<void> Carry(std::unique_ptr<Relay> relay);
  Awaitable<void> CarryServerFirst();

  // The verdict on a request of HTTP, kept in request_.
  bool CheckRequest(std::string_view host, uint16_t port);
  // For connections that pass, or do not, for other reasons: only notes the host.
  bool NoteRequest(std::string_view host);
  Verdict RequestVerdict(std::string_view host, uint16_t port);
  bool AdmitAfterServer(const wire::Sniffed& sniffed);
  template <typename Outcome>
  Verdict OutcomeVerdict(Outcome outcome, const std::string& problem) const;
  std::string RefuseHttp1(Http1::Outcome outcome);
  std::string RefuseHttp2(Http2::Outcome outcome);

  // Names of the wanted address that the policy allows on its port.
  std::vector<NameMemory::Name> AllowedNames();
  std::optional<std::string> FreshName();
  bool Remembered(const std::string& name);

  void LeaveUndecided();
  void Record(const Verdict& verdict, const std::string& host);
  // Records once what let the connection pass.
  void RecordPass();
  // So long a refusal waits for the guest's first words, which tell its protocol.
  Clock::time_point ExplainDeadline() const;
  // Records, tells the guest in its protocol, and closes.
  Awaitable<void> Refuse(Verdict verdict, std::string host);

  TcpParts parts_;
  Stream guest_;
  std::unique_ptr<Race> ahead_;  // of DialAhead, until it is used or given up
  std::unique_ptr<Stream> upstream_;
  net::Endpoint wanted_;
  std::optional<net::Endpoint> dialled_;
  std::function<void()> decided_;
  Clock::time_point accepted_at_;

  Verdict by_address_;
  Opening opening_;
  std::string name_;   // that it passes by; empty: by its address
  std::string shown_;  // by TLS or HTTP, in normal form; empty: none
  bool encrypted_hello_ = false;
  struct Request {
    bool asked = false;
    Verdict verdict;
    std::string host;  // in normal form, or empty
  } request_;
  // The first request was let through; its host (empty for an address), where the connection leads.
  bool admitted_ = false;
  std::string pinned_;

  std::unique_ptr<Http1> http1_;
  std::unique_ptr<Http2> http2_;
  std::unique_ptr<Relay> relay_;
  bool http2_refused_ = false;  // so that http2_ can write a refusal
  bool opened_ = false;
  std::optional<Verdict> unreachable_;   // why the wanted address could not be connected to
  std::optional<std::string> recorded_;  // the name in the record
  bool refused_ = false;
  uint64_t reported_sent_ = 0;
  uint64_t reported_received_ = 0;
};

}  // namespace cleanroom::doors
