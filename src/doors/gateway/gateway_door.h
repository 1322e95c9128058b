// GatewayDoor: what answers at the gateway's address inside a sandbox. It has no routes: every
// HTTP/1 request is answered 404 with the reason code no_such_route.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/async.h"
#include "doors/flow/stream.h"
#include "doors/rules/decision.h"
#include "net/socket_address.h"

namespace cleanroom::doors {

class GatewayDoor {
 public:
  static constexpr uint16_t kPort = 8170;
  static constexpr std::string_view kHost = "gateway.cleanroom.internal";
  // For a whole request head to arrive, which may have Http1Inspector::kMaxHead bytes.
  static constexpr std::chrono::seconds kHeadTime{10};

  explicit GatewayDoor(DecisionSink& sink) : sink_(sink) {}

  // Serves one connection from the guest, and closes it. `stream` outlives the call.
  Awaitable<void> Serve(Stream& stream, net::Endpoint wanted);

 private:
  DecisionSink& sink_;
};

}  // namespace cleanroom::doors
