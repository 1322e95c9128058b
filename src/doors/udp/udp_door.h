// UdpDoor: carries the datagrams that the policy allows, by address and port. UDP shows no name
// (QUIC's is encrypted with keys on the wire and is not looked at): what passes is an address that
// a cidr rule names for UDP, or one that is the fresh answer to a name allowed for UDP on that
// port.
//
// A flow is one socket of the guest talking to one destination: a connected socket of the host,
// until it is idle for too long. Answers are written to the guest from the address it sent to; one
// larger than the link's MTU goes in fragments. A refused datagram, and one whose destination is
// unreachable, is answered with ICMP port unreachable.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/async.h"
#include "doors/rules/decision.h"
#include "doors/rules/name_memory.h"
#include "doors/rules/rules.h"
#include "net/socket_address.h"
#include "os/unique_fd.h"

namespace cleanroom::doors {

struct UdpDoorConfig {
  std::vector<net::IpAddress> gateway;  // serves nothing over UDP
  size_t max_flows = 512;               // one more ends the one that is idle for longest
  std::chrono::milliseconds idle{60'000};
  std::chrono::milliseconds unanswered{10'000};  // idle, of a flow without an answer so far
  std::chrono::milliseconds sweep{1'000};        // how often idle flows are looked for
};

class UdpDoor {
 public:
  // The references outlive the door.
  UdpDoor(asio::any_io_executor executor, UdpDoorConfig config, const Rules& rules,
          NameMemory& memory, DecisionSink& sink);
  ~UdpDoor();  // after Close

  struct Sockets {
    os::UniqueFd udp4, udp6, raw4, raw6;  // of os::DoorSockets; those of a family may be empty
  };
  void Serve(Sockets sockets);

  // To be called after the rules' stage was set: ends flows that it does not allow.
  void StageChanged();

  // Ends every flow and waits until nothing runs.
  Awaitable<void> Close();

  size_t flows() const { return flows_.size(); }
  // Datagrams that could not be passed on: too large for the way, or no room in a socket's buffer.
  uint64_t dropped() const { return dropped_; }

 private:
  struct Flow;
  struct Listener;
  using Key = std::pair<net::Endpoint, net::Endpoint>;  // the guest's, the wanted
  using Flows = std::map<Key, std::unique_ptr<Flow>>;
  using Clock = std::chrono::steady_clock;

  Awaitable<void> Receive(Listener* listener);
  Awaitable<void> Answer(Flow* flow);
  Awaitable<void> Sweep();
  // Reads one datagram; false when there is none.
  bool ReceiveOne(Listener& listener);
  void FromGuest(const net::Endpoint& guest, const net::Endpoint& wanted,
                 std::span<const uint8_t> payload);
  Flow* Open(const Key& key, std::span<const uint8_t> payload);
  // What lets the flow pass; `name` gets the name it passes by, if any.
  Verdict Check(const net::Endpoint& wanted, std::string& name);
  void End(Flow& flow);
  void Report(Flow& flow);
  void Record(const net::Endpoint& wanted, const std::string& host, const Verdict& verdict);
  void SendRaw(const net::Endpoint& guest, std::span<const uint8_t> packet);
  void SendUnreachable(const Key& key, std::span<const uint8_t> payload);

  asio::any_io_executor executor_;
  UdpDoorConfig config_;
  const Rules& rules_;
  NameMemory& memory_;
  DecisionSink& sink_;
  std::list<Listener> listeners_;
  os::UniqueFd raw4_;
  os::UniqueFd raw6_;
  Flows flows_;
  std::list<std::unique_ptr<Flow>> ended_;  // whose tasks still run
  std::vector<uint8_t> buffer_;             // of the datagram that is handled
  uint64_t dropped_ = 0;
  uint32_t next_id_;
  bool closing_ = false;
  TaskScope tasks_;
};

}  // namespace cleanroom::doors
