#include "vmm/qemu/argv.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "guest_link/devices.h"

namespace cleanroom::vmm {
namespace {

using Json = nlohmann::ordered_json;

// Debian's CONFIG_HZ. It only scales the preset of the delay loop (lpj), which spares the secondary
// processors a measurement that fails on a busy host.
constexpr uint64_t kKernelHz = 250;

// QEMU's option syntax ends a value at a comma; two stand for one.
std::string Escape(const std::string& value) {
  std::string out;
  for (const char c : value) {
    out += c;
    if (c == ',') out += ',';
  }
  return out;
}

std::string BlockDevice(std::string_view name, const std::string& path, bool read_only) {
  Json file = {{"driver", "file"}, {"filename", path}};
  Json node = {{"driver", "raw"}, {"node-name", name}, {"read-only", read_only}};
  if (!read_only) {
    // A sandbox's disk does not outlive a host that loses power, so its flushes need not reach the
    // platter; they still reach the host's page cache, which a killed VMM does not take along.
    // Discarded blocks become holes.
    node["cache"] = {{"no-flush", true}};
    node["discard"] = "unmap";
    file["discard"] = "unmap";
  }
  node["file"] = std::move(file);
  return node.dump();
}

// Zeros, until another node takes the place of the one below (QemuMachine::FillSlots).
std::string Slot(int slot) {
  return Json{
      {"driver", "raw"},
      {"node-name", SlotNode(slot)},
      {"read-only", true},
      {"file",
       {{"driver", "null-co"}, {"read-only", true}, {"size", kSlotBytes}, {"read-zeroes", true}}}}
      .dump();
}

// In a file written through, where it is to be saved; private pages of one for a copy.
std::string Memory(int mib, const std::variant<Boot, Copy>& from) {
  const auto* const copy = std::get_if<Copy>(&from);
  const std::string& file = copy != nullptr ? copy->memory_file : std::get<Boot>(from).memory_file;
  if (file.empty()) return fmt::format("memory-backend-ram,id=ram,size={}M", mib);
  return fmt::format("memory-backend-file,id=ram,size={}M,mem-path={},share={}", mib, Escape(file),
                     copy != nullptr ? "off" : "on");
}

}  // namespace

std::string SlotNode(int slot) { return fmt::format("slot{}", slot); }

std::string KernelCommandLine(const MachineSpec& machine) {
  // panic=-1 with reboot=t: a guest that panics resets at once, and -no-reboot makes that QEMU's
  // end.
  std::string line = "console=ttyS0 quiet panic=-1 reboot=t";
  if (machine.tsc_khz != 0) line += fmt::format(" tsc_early_khz={}", machine.tsc_khz);
  if (machine.accelerator == Accelerator::kTcg) {
    // The guest reads the host's own counter, which is the same on all processors: without
    // tsc=reliable a busy host makes the guest think otherwise, and it falls back to counting
    // ticks, which it then loses. Self-tests of the kernel's ciphers cost a third of a second.
    // Emulated processors do not speculate, so counter-measures cost and protect from nothing.
    // QEMU translates code anew for every address that it is mapped at: with addresses that change
    // with each process, starting one takes twice as long. Debian's kernel clears every page also
    // for itself, for a pipe for example; what it would protect lies in the guest. What is not run
    // need not be translated: no accounting of pressure.
    line += " tsc=reliable cryptomgr.notests mitigations=off norandmaps init_on_alloc=0 psi=0";
    if (machine.tsc_khz != 0) line += fmt::format(" lpj={}", machine.tsc_khz * 1000 / kKernelHz);
  }
  if (!machine.extra_cmdline.empty()) line += " " + machine.extra_cmdline;
  return line;
}

std::vector<std::string> BuildArgv(const QemuSpec& spec) {
  const MachineSpec& machine = spec.machine;
  const bool kvm = machine.accelerator == Accelerator::kKvm;
  std::vector<std::string> argv = {
      spec.binary,
      // Whose VM this is, in every process listing.
      "-name",
      "guest=cleanroom-" + machine.sandbox_id,
      // A held machine's VMM forks; each fork gets a filter that denies it.
      "-sandbox",
      fmt::format("on,obsolete=deny,elevateprivileges=deny,spawn={},resourcecontrol=deny",
                  spec.held ? "allow" : "deny"),
      "-nodefaults",
      "-no-user-config",
      "-nographic",
      "-no-reboot",
      // Debian's kernel finds virtio-mmio devices through ACPI only.
      "-machine",
      "microvm,acpi=on,memory-backend=ram",
      "-accel",
      kvm ? "kvm" : "tcg,thread=multi",
      // Emulated, `rep movsb` moves one byte at a time: without ERMS the guest's kernel and C
      // library use copies that are several times as fast.
      "-cpu",
      kvm ? "host" : "max,-erms",
      "-smp",
      std::to_string(machine.vcpus),
      "-m",
      fmt::format("{}M", machine.memory_mib),
      "-object",
  };
  argv.push_back(Memory(machine.memory_mib, spec.from));
  auto add = [&argv](std::string option, std::string value) {
    argv.push_back(std::move(option));
    argv.push_back(std::move(value));
  };
  if (std::holds_alternative<Copy>(spec.from)) {
    // The kernel is in that memory; given again, QEMU would write it there anew, which costs as
    // many private pages as it has.
    add("-incoming", "defer");
  } else {
    add("-kernel", machine.kernel);
    add("-initrd", machine.initrd);
    add("-append", KernelCommandLine(machine));
  }

  add("-chardev", fmt::format("socket,id=console,fd={}", kQemuConsoleFd));
  add("-serial", "chardev:console");
  add("-chardev", fmt::format("socket,id=monitor,fd={}", kQemuMonitorFd));
  add("-mon", "chardev=monitor,mode=control");
  add("-device", "virtio-serial-device");
  add("-chardev", fmt::format("socket,id=agent,fd={}", kQemuAgentFd));
  add("-device", fmt::format("virtserialport,chardev=agent,name={},nr=1", guest_link::kAgentPort));
  if (!machine.image.empty()) {
    add("-blockdev", BlockDevice("image", machine.image, /*read_only=*/true));
    add("-device",
        fmt::format("virtio-blk-device,drive=image,serial={}", guest_link::kImageSerial));
  }
  if (!machine.disk.empty()) {
    add("-blockdev", BlockDevice("disk", machine.disk, /*read_only=*/false));
    add("-device", fmt::format("virtio-blk-device,drive=disk,serial={}", guest_link::kDiskSerial));
  }
  for (int slot = 0; slot < machine.slots; ++slot) {
    add("-blockdev", Slot(slot));
    add("-device", fmt::format("virtio-blk-device,drive={},serial={}", SlotNode(slot),
                               guest_link::SlotSerial(slot)));
  }
  if (machine.network.fd >= 0) {
    add("-netdev", fmt::format("tap,id=net,fd={},vhost=off", kQemuTapFd));
    // A copy is not to announce itself: QEMU 7.2 drops the timer for that when it has restored the
    // device, and falls over its absence at the device's next reset.
    add("-device",
        fmt::format("virtio-net-device,netdev=net,mac={},guest_announce=off", machine.guest_mac));
  }
  return argv;
}

}  // namespace cleanroom::vmm
