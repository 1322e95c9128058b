// TcpDoor: accepts what a sandbox's guest opens and carries what the policy allows; everything else
// is refused at once and recorded (tcp_connection.h says how it is decided). The gateway's address
// and port 53 of any address lead to doors of their own.
//
// Bounds, per sandbox: connections, undecided ones, and what each may hold: 64 KiB of hello or head
// while undecided (128 KiB for HTTP/2), then at most one chunk of 16 KiB in this process, and pipes
// of the kernel within PipePool's budget.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "base/async.h"
#include "doors/dns/resolver.h"
#include "doors/flow/pump.h"
#include "doors/gateway/gateway_door.h"
#include "doors/rules/decision.h"
#include "doors/rules/name_memory.h"
#include "doors/rules/rules.h"
#include "doors/tcp/dialer.h"
#include "doors/tcp/tcp_connection.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {

struct TcpDoorConfig {
  std::vector<net::IpAddress> gateway;  // the gateway's addresses inside the sandbox
  size_t max_connections = 1024;        // one more is reset
  // Connections of which it is not yet known where they lead. When there are so many, one that has
  // been so for undecided_grace is reset, the oldest first; until then no more are accepted.
  size_t max_undecided = 256;
  std::chrono::milliseconds undecided_grace{1000};
  std::chrono::seconds report_interval{5};  // of bytes moved by connections that last
  TcpConnectionConfig connection;
  DialerConfig dialer;
};

class TcpDoor {
 public:
  // Serves DNS over TCP on the descriptor, which it then owns; ends when cancelled.
  using ServeDns = std::function<Awaitable<void>(int fd)>;

  // The references outlive the door.
  TcpDoor(asio::any_io_executor executor, TcpDoorConfig config, const Rules& rules,
          NameMemory& memory, Resolver& resolver, ServeDns dns, DecisionSink& sink);
  ~TcpDoor();  // after Close

  // Accepts from now on. The sockets are those of os::DoorSockets; either may be empty.
  void Serve(os::UniqueFd tcp4, os::UniqueFd tcp6);

  // To be called after the rules' stage was set: resets connections that it does not allow.
  void StageChanged();

  // Resets every connection, stops accepting and waits until nothing runs.
  Awaitable<void> Close();

  size_t connections() const { return connections_.size(); }
  size_t undecided() const { return undecided_; }

 private:
  using Connections = std::list<std::unique_ptr<TcpConnection>>;
  struct Listener;

  Awaitable<void> Accept(Listener* listener);
  // One accepted connection.
  void Admit(os::UniqueFd fd);
  Awaitable<void> Run(Connections::iterator connection);
  Awaitable<void> RunGateway(int fd, net::Endpoint wanted);
  Awaitable<void> ReportNow();
  // Waits while there are too many undecided connections.
  Awaitable<void> MakeRoom();
  void RefuseTooMany(os::UniqueFd fd, const net::Endpoint& wanted);
  bool IsGateway(const net::Endpoint& wanted) const;

  asio::any_io_executor executor_;
  TcpDoorConfig config_;
  DecisionSink& sink_;
  ServeDns dns_;
  PipePool pipes_;
  Dialer dialer_;
  GatewayDoor gateway_;
  TcpParts parts_;
  std::list<Listener> listeners_;
  Connections connections_;
  size_t undecided_ = 0;
  size_t gateway_connections_ = 0;
  bool closing_ = false;
  Notifier decided_;
  TaskScope tasks_;
};

}  // namespace cleanroom::doors
