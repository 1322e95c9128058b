// What a virtual machine backend offers. A backend is stateless; a Machine is one running VM and
// its owner is the sandbox's warden.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capability/capability.h"
#include "capability/check.h"
#include "os/process.h"
#include "os/unique_fd.h"

namespace cleanroom::vmm {

enum class Accelerator { kTcg, kKvm };
std::string_view ToString(Accelerator accelerator);  // "tcg", "kvm"

// How a machine's RAM comes to be.
enum class MemoryKind {
  kAnonymous,  // empty: the machine boots
  kTemplate,   // the file, written through: the machine boots and is to be saved
  kCopy,       // a private copy, page by page as it is written, of the file of a saved machine
};

struct MachineSpec {
  std::string sandbox_id;
  std::string kernel;         // uncompressed ELF vmlinux with a PVH entry
  std::string initrd;         // cpio archive
  std::string extra_cmdline;  // appended to the kernel command line
  int vcpus = 2;
  int memory_mib = 1024;
  MemoryKind memory = MemoryKind::kAnonymous;
  std::string memory_file;  // of memory_mib exactly, unless kAnonymous
  std::string image;        // raw ext4, attached read-only with serial "cr-image"; empty: none
  std::string disk;         // raw, attached writable with serial "cr-disk"; empty: none
  int tap_fd = -1;          // a TAP with virtio-net headers (os/netns); -1: no network device
  int fork_listener = -1;   // a listening UNIX socket: forks of the machine are asked for there
  std::string guest_mac = "02:00:00:00:00:02";
  Accelerator accelerator = Accelerator::kTcg;
  uint64_t tsc_khz = 0;  // of the host (tsc.h); 0: the guest measures, which hangs on a busy host
};

// What a fork of a held machine does not share with it.
struct ForkSpec {
  std::string sandbox_id;
  std::string disk;  // a copy of the held machine's
  int tap_fd = -1;
};

// One running virtual machine. Destroying it kills it and reaps it; it also dies with the thread
// that launched it (PR_SET_PDEATHSIG), so a multi-threaded owner launches from its main thread.
class Machine {
 public:
  virtual ~Machine() = default;

  virtual pid_t pid() const = 0;
  // Readable when the VMM has ended. Owned by the Machine.
  virtual int pidfd() const = 0;
  // Our end of the guest agent's byte stream (a blocking socket); for the caller to keep. The guest
  // sees it open from the start; bytes written before the agent opens its port wait in it.
  virtual os::UniqueFd TakeAgentStream() = 0;
  // Our end of the console (guest serial port and the VMM's own messages); for the caller to keep
  // and to read until its end, also while nobody cares: a full one stalls the guest (see
  // console_log.h).
  virtual os::UniqueFd TakeConsole() = 0;

  // Stops the machine, which was launched with MemoryKind::kTemplate, for good and writes the state
  // of its devices to the descriptor; its RAM is in the file. Blocks until then, at most until the
  // deadline. Whoever still serves the agent's stream must not have spoken on it.
  virtual Result<void> Save(int state_fd, std::chrono::steady_clock::time_point deadline) = 0;

  // Stops the processors until the machine ends; forks of it run. Blocks until all disks are idle.
  virtual Result<void> Pause(std::chrono::steady_clock::time_point deadline) = 0;

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
  // Starts the VMM and returns at once; the guest is still booting. backend_unavailable when the
  // VMM is missing, runtime_launch_failed when it does not start. A VMM that rejects its arguments
  // ends at once, with its reason on the console.
  virtual Result<std::unique_ptr<Machine>> Launch(const MachineSpec& spec) const = 0;
  // Starts the VMM as a copy of a saved machine: `spec` is that machine's but for its disk, network
  // and name, with MemoryKind::kCopy. Returns when the guest runs on, blocking some milliseconds
  // and at most until the deadline. runtime_launch_failed when the VMM refuses the state.
  virtual Result<std::unique_ptr<Machine>> Restore(
      const MachineSpec& spec, int state_fd,
      std::chrono::steady_clock::time_point deadline) const = 0;
  // Forks the machine that was launched or restored with the fork_listener to which `connection`
  // (a socket) leads, and was paused; the fork runs on when this returns, some milliseconds later.
  // Neither it nor its VMM shares anything with the held one but memory that neither has written
  // to. Nobody may have spoken on the held machine's agent stream without having hung up.
  virtual Result<std::unique_ptr<Machine>> Fork(
      const ForkSpec& spec, os::UniqueFd connection,
      std::chrono::steady_clock::time_point deadline) const = 0;
};

// Success for "qemu"; backend_unavailable for the names this build does not offer ("firecracker",
// "darwin-vz"), invalid_argument for any other.
Result<void> CheckBackendName(std::string_view name);

}  // namespace cleanroom::vmm
