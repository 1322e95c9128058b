// Opening: the first bytes that a guest sends on a connection, until it is known what they are.
#pragma once

#include <chrono>
#include <string>

#include "base/async.h"
#include "doors/flow/stream.h"
#include "doors/wire/sniffer.h"

namespace cleanroom::doors {

class Opening {
 public:
  using Clock = std::chrono::steady_clock;
  // From the first byte until it is known what the guest speaks.
  static constexpr std::chrono::seconds kTimeLimit{10};

  enum class Heard {
    kKnown,   // sniffed() is final
    kSilent,  // no byte came until `quiet_until`
    kPartly,  // some came, not enough within `limit` from the first
    kBroken,  // the connection was closed or reset
  };
  // Reads on. `guest` outlives the call. A guest that finishes writing with nothing said is opaque;
  // within its first message, malformed.
  Awaitable<Heard> Listen(Stream& guest, Clock::time_point quiet_until,
                          std::chrono::milliseconds limit);

  const wire::Sniffed& sniffed() const { return sniffed_; }
  wire::Sniffed::Kind kind() const { return sniffed_.kind; }
  bool empty() const { return sniffer_.bytes().empty(); }
  // What was read, and not yet passed on.
  const std::string& bytes() const { return sniffer_.bytes(); }
  std::string Take() { return sniffer_.Take(); }

 private:
  wire::Sniffer sniffer_;
  wire::Sniffed sniffed_;
  Clock::time_point first_at_;
};

}  // namespace cleanroom::doors
