// Doors: the sandbox's ways out, from its launch to its end: the rules of its policy, the names it
// has learned, and the DNS, TCP and UDP doors (src/doors) on the sockets in its namespace.
//
// Before they are open, what the guest sends waits in the sockets; once they are closed the
// namespace's rules refuse it. Lives on the warden's one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/async.h"
#include "doors/dns/dns_door.h"
#include "doors/dns/resolver.h"
#include "doors/rules/name_memory.h"
#include "doors/rules/rules.h"
#include "doors/tcp/tcp_door.h"
#include "doors/udp/udp_door.h"
#include "os/netns/door_sockets.h"

namespace cleanroom::warden {

struct DoorsConfig {
  std::string policy_json;             // canonical (policy/compiled.h)
  std::vector<std::string> resolvers;  // "192.0.2.1:53", "[2001:db8::1]:53", in order, at most 8
  std::vector<std::string> gateway;    // the gateway's addresses inside the sandbox
  os::DoorSockets sockets;
};

class Doors {
 public:
  // Opens them. policy_invalid when the policy is not exactly what a compiler gives: nothing is
  // open then. `sink` outlives them.
  static Result<std::unique_ptr<Doors>> Open(asio::any_io_executor executor, DoorsConfig config,
                                             doors::DecisionSink& sink);
  ~Doors();  // after Close

  // Switches the rules; ends what is open and not allowed in the new stage.
  void SetStage(policy::Stage stage);

  // Ends everything that is open, and waits for that.
  Awaitable<void> Close();

 private:
  struct Parts;  // of the configuration, parsed
  Doors(asio::any_io_executor executor, Parts parts, os::DoorSockets sockets,
        doors::DecisionSink& sink);
  Awaitable<void> ServeNames(int fd);

  doors::Rules rules_;
  doors::NameMemory memory_;
  doors::Resolver resolver_;
  os::UniqueFd dns4_;
  os::UniqueFd dns6_;
  doors::DnsDoor dns_;
  doors::TcpDoor tcp_;
  doors::UdpDoor udp_;
  TaskScope tasks_;
};

// The stage of this name ("repository", "dependencies", "services", "execution");
// invalid_argument for another.
Result<policy::Stage> ParseStage(std::string_view name);

}  // namespace cleanroom::warden
