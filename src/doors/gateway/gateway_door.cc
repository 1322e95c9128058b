#include "doors/gateway/gateway_door.h"

#include <array>
#include <string>

#include "doors/wire/http1_inspector.h"
#include "doors/wire/refusal.h"

namespace cleanroom::doors {

Awaitable<void> GatewayDoor::Serve(Stream& stream, net::Endpoint wanted) {
  using wire::Http1Inspector;
  const Http1Inspector::Check any = [](std::string_view, uint16_t) { return true; };
  Http1Inspector inspector(any);
  const auto deadline = Stream::Clock::now() + kHeadTime;
  auto outcome = Http1Inspector::Outcome::kGoOn;
  while (inspector.requests() == 0 && outcome == Http1Inspector::Outcome::kGoOn) {
    std::array<char, 4096> buffer;
    const auto moved = stream.Read(buffer);
    if (moved.status == Stream::Status::kMoved) {
      outcome = inspector.FromClient({buffer.data(), moved.count}).outcome;
      continue;
    }
    if (moved.status != Stream::Status::kWouldBlock) break;
    const auto ready = co_await stream.ReadyBy(Stream::Wait::wait_read, deadline);
    if (!ready) break;
  }
  Decision decision;
  decision.service = Service::kGateway;
  decision.host = std::string(kHost);
  decision.address = wanted.address;
  decision.port = wanted.port;
  if (inspector.requests() == 0) {
    decision.code = Code::kMalformed;
    decision.message = inspector.problem().empty() ? "the gateway got no whole HTTP request"
                                                   : "the gateway: " + inspector.problem();
    sink_.Record(decision);
    stream.Reset();
    co_return;
  }
  decision.code = Code::kNoSuchRoute;
  decision.message = "the gateway has no such route";
  sink_.Record(decision);
  std::string response =
      wire::HttpRefusal("404 Not Found", ToString(decision.code), decision.message);
  co_await stream.CloseAfter(std::move(response));
}

}  // namespace cleanroom::doors
