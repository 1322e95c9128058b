// What the agent does to the whole machine, apart from the commands it runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/files/root.h"
#include "guest/machine/devices.h"

namespace cleanroom::internal::v1 {
class ConfigureRequest;
class MountRequest;
class PrepareRequest;
}  // namespace cleanroom::internal::v1

namespace cleanroom::guest {

// An interface, because tests of the service run on a machine that must stay as it is.
class Machine {
 public:
  virtual ~Machine() = default;
  // Mounts the root and sets up the network: all that copies of the machine may share.
  virtual Result<Root> Prepare(const internal::v1::PrepareRequest& request) = 0;
  // Randomness, time and name: all that they may not. Before any user's command runs.
  virtual Result<void> Identify(const internal::v1::ConfigureRequest& request,
                                const Root& root) = 0;
  virtual Result<void> AdjustClock(int64_t nanoseconds) = 0;
  // Makes a folder of layers.
  virtual Result<void> Mount(const internal::v1::MountRequest& request, const Root& root) = 0;
  // Where what is written to such a folder lies, in the agent's view; not_found for others.
  virtual Result<std::string> UpperOf(const std::string& target) const = 0;
  // Forgets what has been read of the disks.
  virtual Result<void> DropCaches() = 0;
  // Sends the signal to every process but this one.
  virtual void SignalAll(int signal) = 0;
  // Leaves the disk clean. No command runs any more.
  virtual void Quiesce() = 0;
};

// The machine this process is PID 1 of.
class GuestMachine : public Machine {
 public:
  Result<Root> Prepare(const internal::v1::PrepareRequest& request) override;
  Result<void> Identify(const internal::v1::ConfigureRequest& request, const Root& root) override;
  Result<void> AdjustClock(int64_t nanoseconds) override;
  Result<void> Mount(const internal::v1::MountRequest& request, const Root& root) override;
  Result<std::string> UpperOf(const std::string& target) const override;
  Result<void> DropCaches() override;
  void SignalAll(int signal) override;
  void Quiesce() override;

 private:
  Result<std::string> FindDisk(const std::string& serial);

  BlockDevices disks_;                // that have been found
  std::vector<std::string> folders_;  // that were made of layers, by their numbers
};

}  // namespace cleanroom::guest
