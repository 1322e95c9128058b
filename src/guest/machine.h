// What the agent does to the whole machine, apart from the commands it runs.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "guest/root.h"

namespace cleanroom::internal::v1 {
class ConfigureRequest;
}

namespace cleanroom::guest {

// An interface, because tests of the service run on a machine that must stay as it is.
class Machine {
 public:
  virtual ~Machine() = default;
  // Mounts the root and gives the machine its identity and network.
  virtual Result<Root> Configure(const internal::v1::ConfigureRequest& request) = 0;
  // Sends the signal to every process but this one.
  virtual void SignalAll(int signal) = 0;
  // Leaves the disk clean. No command runs any more.
  virtual void Quiesce() = 0;
};

// The machine this process is PID 1 of.
class GuestMachine : public Machine {
 public:
  Result<Root> Configure(const internal::v1::ConfigureRequest& request) override;
  void SignalAll(int signal) override;
  void Quiesce() override;
};

}  // namespace cleanroom::guest
