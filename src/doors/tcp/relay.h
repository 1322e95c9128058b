// Relay: carries one established connection between the guest and its destination, both ways, until
// both have finished or one broke. The end of one direction is passed on while the other goes on; a
// reset is passed on as a reset.
//
// The base moves bytes unseen with splice. GatedRelay looks at what the guest says first, after the
// server has already spoken; Http1Relay and Http2Relay (inspected_relay.h) at every request.
#pragma once

#include <functional>
#include <string>

#include "base/async.h"
#include "doors/flow/pump.h"
#include "doors/flow/stream.h"
#include "doors/tcp/opening.h"
#include "doors/wire/sniffer.h"

namespace cleanroom::doors {

class Relay {
 public:
  // `first` is what the guest has already said. All references outlive the relay.
  Relay(Stream& guest, Stream& upstream, PipePool& pool, std::string first);
  virtual ~Relay() = default;
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Both streams are closed when it returns. Closing them ends it.
  Awaitable<void> Run();

  // Bytes that reached the destination, and the guest.
  uint64_t sent() const { return up_.moved; }
  uint64_t received() const { return down_.moved; }

 protected:
  // True: the reader's side ended in order, or Farewell was called. False: something broke.
  virtual Awaitable<bool> Up();
  virtual Awaitable<bool> Down();

  Awaitable<bool> Send(std::string bytes);  // to the destination
  Awaitable<bool> SendFirst();
  // Ends the connection with a last message for the guest.
  Awaitable<void> Farewell(std::string message);
  void Abort();

  Stream& guest_;
  Stream& upstream_;
  PipePool& pool_;
  Progress up_;
  Progress down_;

 private:
  Awaitable<void> RunUp();
  Awaitable<void> RunDown();
  Awaitable<void> Finish(bool ended, Stream& from, Stream& to);

  std::string first_;
  int finished_ = 0;
  bool farewell_ = false;
};

class GatedRelay : public Relay {
 public:
  // Asked once what the guest spoke when it did; false resets the connection.
  using Admit = std::function<bool(const wire::Sniffed&)>;
  GatedRelay(Stream& guest, Stream& upstream, PipePool& pool, Admit admit);

 protected:
  Awaitable<bool> Up() override;

 private:
  Admit admit_;
  Opening opening_;
};

}  // namespace cleanroom::doors
