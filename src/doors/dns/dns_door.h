// DnsDoor: the DNS as a sandbox sees it, at whatever address it looks for a resolver. DnsJudge says
// what is answered; this moves the messages, over UDP and TCP.
#pragma once

#include <memory>
#include <vector>

#include "base/async.h"
#include "doors/dns/dns_judge.h"
#include "doors/dns/resolver.h"
#include "doors/rules/decision.h"

namespace cleanroom::doors {

class DnsDoor {
 public:
  // `rules`, `memory`, `resolver` and `sink` outlive it. It outlives the tasks that serve.
  DnsDoor(asio::any_io_executor executor, DnsDoorConfig config, const Rules& rules,
          NameMemory& memory, Resolver& resolver, DecisionSink& sink);
  ~DnsDoor();

  // Serves dns4 or dns6 of os::DoorSockets until the task is cancelled: answers go out from the
  // address that was asked. The descriptor stays the caller's and open meanwhile; one that is
  // negative (the host has no IPv6) returns at once.
  Awaitable<void> ServeUdp(int fd);

  // Serves DNS over TCP (RFC 7766) on a connected socket, which it owns from the call on, until the
  // guest closes it or is idle for too long: messages behind their length, answered as they are
  // ready. A connection too many is reset.
  Awaitable<void> ServeTcp(int fd);

  // For the other doors: a name that a guest puts into a hello leaves the sandbox too, when it is
  // looked up.
  TunnelGuard& tunnel_guard() { return judge_.tunnel_guard(); }

 private:
  struct Datagram;    // where a query came from, and went to
  struct Connection;  // over TCP
  // The answer of the resolver to a question that counts as in flight; empty when cancelled.
  Awaitable<DnsJudge::Message> Ask(DnsJudge::Question question);
  // The answer when no server needs to be asked for it.
  std::optional<DnsJudge::Message> AnswerAtOnce(DnsJudge::Step& step);
  Awaitable<void> AnswerDatagram(int fd, Datagram datagram, DnsJudge::Question question);
  Awaitable<void> ReadQueries(Connection& connection);
  Awaitable<void> WriteAnswers(Connection* connection);
  Awaitable<void> AnswerOnConnection(Connection* connection, DnsJudge::Question question);
  void Send(int fd, const Datagram& datagram, const DnsJudge::Message& message);
  void HandleBatch(int fd, TaskScope& tasks);

  asio::any_io_executor executor_;
  DnsJudge judge_;
  Resolver& resolver_;
  DecisionSink& sink_;
  std::vector<uint8_t> buffer_;  // of a datagram that is read
  size_t in_flight_ = 0;         // questions with the resolver
  size_t connections_ = 0;
};

}  // namespace cleanroom::doors
