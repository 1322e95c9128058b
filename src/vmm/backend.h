// What a virtual machine backend offers. A backend is stateless; a Machine is one running VM and
// its owner is the sandbox's warden.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capability/capability.h"
#include "capability/check.h"
#include "os/process.h"
#include "os/unique_fd.h"
#include "vmm/start_from.h"

namespace cleanroom::vmm {

enum class Accelerator { kTcg, kKvm };
std::string_view ToString(Accelerator accelerator);  // "tcg", "kvm"

// Where a machine's network device leads: a TAP with virtio-net headers (os/netns). Whoever has
// both gives both, and the backend takes the one that its VMM can open. Neither: no network device.
struct TapSource {
  int fd = -1;            // the caller's
  std::string name = {};  // in the network namespace that the VMM is to be started in
};

// What a machine is made of. All paths are as the VMM sees them, which may have a root of its own.
// A copy or a fork must be given what the machine that it comes from was made of, but for name,
// disk and network.
struct MachineSpec {
  std::string sandbox_id;
  std::string kernel;         // uncompressed ELF vmlinux with a PVH entry
  std::string initrd;         // cpio archive
  std::string extra_cmdline;  // appended to the kernel command line
  int vcpus = 2;
  int memory_mib = 1024;
  // The guest finds its disks by serials (guest_link/devices.h).
  std::string image;  // raw ext4, attached read-only; empty: none
  std::string disk;   // raw, attached writable; empty: none
  // Further disks, which are only read and have nothing in them until they are filled
  // (Machine::FillSlots). A copy or a fork has as many as the machine that it comes from.
  int slots = 0;
  TapSource network;
  std::string guest_mac = "02:00:00:00:00:02";
  Accelerator accelerator = Accelerator::kTcg;
  uint64_t tsc_khz = 0;  // of the host (tsc.h); 0: the guest measures, which hangs on a busy host
};

// What an empty slot seems to hold: more than any file that is put into one.
inline constexpr uint64_t kSlotBytes = uint64_t{1} << 40;

struct SlotFile {
  int slot;
  int fd;  // the caller's, to read from
};

// One running virtual machine. Destroying it kills it and reaps it; it also dies with the thread
// that started it (PR_SET_PDEATHSIG), so a multi-threaded owner starts it from its main thread. It
// outlives its Backend.
class Machine {
 public:
  virtual ~Machine() = default;

  virtual pid_t pid() const = 0;
  // Readable when the VMM has ended. Owned by the Machine.
  virtual int pidfd() const = 0;
  // Our end of the guest agent's byte stream (a blocking socket), whatever carries it to the guest;
  // for the caller to keep. It can be written to from the start: what comes before the agent is
  // there waits in it.
  virtual os::UniqueFd TakeAgentStream() = 0;
  // Our end of the console (guest serial port and the VMM's own messages); for the caller to keep
  // and to read until its end, also while nobody cares: a full one stalls the guest (see
  // console_log.h).
  virtual os::UniqueFd TakeConsole() = 0;

  // Stops the machine for good and writes the state of its devices to the descriptor; its RAM is
  // then in the file that it was booted with. Blocks until then, at most until the deadline.
  // Whoever still serves the agent's stream must not have spoken on it.
  virtual Result<void> Save(int state_fd, std::chrono::steady_clock::time_point deadline) = 0;

  // Stops the processors until the machine ends; forks of it run. Blocks until all disks are idle.
  virtual Result<void> Pause(std::chrono::steady_clock::time_point deadline) = 0;

  // Puts files into slots that are empty: slots let a machine have files that the one which it
  // comes from did not know, however it was started. A slot is a block device from the start on,
  // also while it is empty; then it is kSlotBytes of zeros. A guest goes on to believe in that
  // size, so whatever is in a file has to know its own, and nobody may have used the device before.
  // The files must not be written to any more, and may be shared by any number of machines. Takes a
  // millisecond or two, whether the processors run or not.
  virtual Result<void> FillSlots(std::span<const SlotFile> files,
                                 std::chrono::steady_clock::time_point deadline) = 0;

  // Kills the VMM.
  virtual Result<void> Kill() = 0;
  // Asks the VMM to flush its disks and end, and waits at most `timeout`; kills it when it does
  // not.
  virtual Result<os::ExitStatus> Quit(std::chrono::milliseconds timeout) = 0;
  // Blocks until the VMM has ended (poll pidfd first not to block). May be called again.
  virtual Result<os::ExitStatus> Wait() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  // What it does by itself; what the doors and the control plane do is not its to say.
  virtual capability::Names Capabilities() const = 0;
  // What this host lacks, or has, for this backend. Fast (well under a second), changes nothing.
  virtual std::vector<capability::Check> Checks() const = 0;
  // Where the VMM's program is; backend_unavailable, with the remedy, when it is missing.
  virtual Result<std::string> FindBinary() const = 0;
  // Whether its machines can be held and forked under this accelerator, and gain by it.
  virtual bool CanHold(Accelerator accelerator) const = 0;

  // Starts a machine. backend_unavailable when the VMM is missing, unimplemented for a way to start
  // that the backend does not have, runtime_launch_failed when the VMM does not start or refuses
  // the saved state. `spec` is made into a machine that
  //
  //   Boot   boots: returns at once, and a VMM that rejects its arguments ends at once, with its
  //          reason on the console.
  //   Copy   runs on when this returns, some milliseconds later and at most at the deadline.
  //   Fork   likewise; of `spec` only name, disk and network are used, the rest is the held
  //          machine's. Neither it nor its VMM shares anything with the held one but memory that
  //          neither has written to. Nobody may have spoken on the held machine's agent stream
  //          without having hung up.
  //
  virtual Result<std::unique_ptr<Machine>> Start(
      const MachineSpec& spec, StartFrom from,
      std::chrono::steady_clock::time_point deadline) const = 0;
};

}  // namespace cleanroom::vmm
