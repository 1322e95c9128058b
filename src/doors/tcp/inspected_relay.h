// Relays of cleartext HTTP: every request is checked before any byte of it goes on. HTTP/1
// responses move unseen, with splice; HTTP/2 is followed both ways.
//
// A refused request is answered 403 when that cannot be mistaken for part of another response: for
// HTTP/1 when the server has answered since the last request went on and nothing of its answer is
// still on the way, for HTTP/2 between two frames of the server. Otherwise the connection is reset.
#pragma once

#include <functional>
#include <string>

#include "doors/tcp/relay.h"
#include "doors/wire/http1_inspector.h"
#include "doors/wire/http2_inspector.h"

namespace cleanroom::doors {

class Http1Relay : public Relay {
 public:
  // Told why the inspector stopped; records it and gives the response for the guest.
  using Refuse = std::function<std::string(wire::Http1Inspector::Outcome)>;
  // `first` is what `inspector` gave for the first request; `tunnel`: it will not look further.
  Http1Relay(Stream& guest, Stream& upstream, PipePool& pool, wire::Http1Inspector& inspector,
             wire::Http1Inspector::Step first, Refuse refuse);

 protected:
  Awaitable<bool> Up() override;
  Awaitable<bool> Down() override;

 private:
  using Outcome = wire::Http1Inspector::Outcome;
  // Forwards the step; false when the connection broke.
  Awaitable<bool> Forward(std::string bytes);
  Awaitable<bool> FollowUpgrade();
  Awaitable<bool> RefuseRequest();
  bool MayAnswer();

  wire::Http1Inspector& inspector_;
  Refuse refuse_;
  Outcome outcome_;
  uint64_t received_before_ = 0;  // when the last request bytes went on
  // Of the answer to an upgrade, for Up, which waits for it.
  Notifier answered_;
  std::string held_;
};

class Http2Relay : public Relay {
 public:
  using Refuse = std::function<std::string(wire::Http2Inspector::Outcome)>;
  // How long a refusal may wait for the end of a frame of the server.
  static constexpr std::chrono::milliseconds kBoundaryTime{200};

  Http2Relay(Stream& guest, Stream& upstream, PipePool& pool, wire::Http2Inspector& inspector,
             std::string first, Refuse refuse);

 protected:
  Awaitable<bool> Up() override;
  Awaitable<bool> Down() override;

 private:
  using Outcome = wire::Http2Inspector::Outcome;
  Awaitable<bool> RefuseRequest(Outcome outcome);
  // Feeds the server's bytes to the inspector, up to the end of a frame when a refusal waits for
  // one; how many of them the guest is to get.
  size_t Follow(std::string_view bytes);

  wire::Http2Inspector& inspector_;
  Refuse refuse_;
  bool refusing_ = false;
  bool writing_ = false;  // to the guest
  Notifier boundary_;
};

}  // namespace cleanroom::doors
