#include "vmm/qemu/argv.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace cleanroom::vmm {
namespace {

using testing::Contains;
using testing::ElementsAreArray;
using testing::Not;

MachineSpec FullSpec() {
  MachineSpec spec;
  spec.sandbox_id = "01kr7p9ksmfa7rmyypyqw2w8r0";
  spec.kernel = "/k/vmlinux";
  spec.initrd = "/i/init.cpio";
  spec.image = "/images/a,b \"c\".ext4";
  spec.disk = "/state/disk.raw";
  spec.network.fd = 42;
  spec.tsc_khz = 2'500'000;
  return spec;
}

TEST(ArgvTest, Golden) {
  // NOLINTBEGIN(bugprone-suspicious-missing-comma): long arguments stand on two lines
  const std::vector<std::string> want = {
      "/usr/bin/qemu-system-x86_64",
      "-name",
      "guest=cleanroom-01kr7p9ksmfa7rmyypyqw2w8r0",
      "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-nodefaults",
      "-no-user-config",
      "-nographic",
      "-no-reboot",
      "-machine",
      "microvm,acpi=on,memory-backend=ram",
      "-accel",
      "tcg,thread=multi",
      "-cpu",
      "max,-erms",
      "-smp",
      "2",
      "-m",
      "1024M",
      "-object",
      "memory-backend-ram,id=ram,size=1024M",
      "-kernel",
      "/k/vmlinux",
      "-initrd",
      "/i/init.cpio",
      "-append",
      std::string("console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=2500000 tsc=reliable ") +
          "cryptomgr.notests mitigations=off norandmaps init_on_alloc=0 psi=0 lpj=10000000",
      "-chardev",
      "socket,id=console,fd=5",
      "-serial",
      "chardev:console",
      "-chardev",
      "socket,id=monitor,fd=4",
      "-mon",
      "chardev=monitor,mode=control",
      "-device",
      "virtio-serial-device",
      "-chardev",
      "socket,id=agent,fd=3",
      "-device",
      "virtserialport,chardev=agent,name=cleanroom.agent,nr=1",
      "-blockdev",
      R"({"driver":"raw","node-name":"image","read-only":true,)"
      R"("file":{"driver":"file","filename":"/images/a,b \"c\".ext4"}})",
      "-device",
      "virtio-blk-device,drive=image,serial=cr-image",
      "-blockdev",
      R"({"driver":"raw","node-name":"disk","read-only":false,"cache":{"no-flush":true},)"
      R"("discard":"unmap","file":{"driver":"file","filename":"/state/disk.raw",)"
      R"("discard":"unmap"}})",
      "-device",
      "virtio-blk-device,drive=disk,serial=cr-disk",
      "-netdev",
      "tap,id=net,fd=6,vhost=off",
      "-device",
      "virtio-net-device,netdev=net,mac=02:00:00:00:00:02,guest_announce=off",
  };
  // NOLINTEND(bugprone-suspicious-missing-comma)
  EXPECT_THAT(BuildArgv({.binary = "/usr/bin/qemu-system-x86_64", .machine = FullSpec()}),
              ElementsAreArray(want));
}

TEST(ArgvTest, LeavesOutWhatIsNotThere) {
  MachineSpec spec = FullSpec();
  spec.image.clear();
  spec.disk.clear();
  spec.network = {};
  const auto argv = BuildArgv({.machine = spec});
  EXPECT_THAT(argv, Not(Contains("-blockdev")));
  EXPECT_THAT(argv, Not(Contains("-netdev")));
}

TEST(ArgvTest, KvmUsesTheHostsProcessorAndNoTcgOptions) {
  MachineSpec spec = FullSpec();
  spec.accelerator = Accelerator::kKvm;
  spec.extra_cmdline = "loglevel=7";
  const auto argv = BuildArgv({.machine = spec});
  EXPECT_THAT(argv, Contains("kvm"));
  EXPECT_THAT(argv, Contains("host"));
  EXPECT_EQ(KernelCommandLine(spec),
            "console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=2500000 loglevel=7");
}

TEST(ArgvTest, MemoryInAFile) {
  const MachineSpec spec = FullSpec();
  const auto made = BuildArgv({.machine = spec, .from = Boot{.memory_file = "/t/m,1"}});
  EXPECT_THAT(made, Contains("memory-backend-file,id=ram,size=1024M,mem-path=/t/m,,1,share=on"));
  EXPECT_THAT(made, Contains("-kernel"));
  EXPECT_THAT(made, Not(Contains("-incoming")));
  const auto copy =
      BuildArgv({.machine = spec, .from = Copy{.memory_file = "/t/m,1", .state_file = "/t/s"}});
  EXPECT_THAT(copy, Contains("memory-backend-file,id=ram,size=1024M,mem-path=/t/m,,1,share=off"));
  EXPECT_THAT(copy, Not(Contains("-kernel")));
  EXPECT_THAT(copy, Contains("-incoming"));
}

TEST(ArgvTest, Slots) {
  MachineSpec spec = FullSpec();
  spec.slots = 2;
  const auto argv = BuildArgv({.machine = spec});
  const auto netdev = std::ranges::find(argv, "-netdev");
  ASSERT_GE(netdev - argv.begin(), 8);
  std::vector<std::string> want;
  for (const char* name : {"slot0", "slot1"}) {
    want.insert(
        want.end(),
        {"-blockdev",
         fmt::format(R"({{"driver":"raw","node-name":"{}","read-only":true,"file":)"
                     R"({{"driver":"null-co","read-only":true,"size":1099511627776,)"
                     R"("read-zeroes":true}}}})",
                     name),
         "-device", fmt::format("virtio-blk-device,drive={},serial=cr-slot-{}", name, name[4])});
  }
  EXPECT_THAT(std::vector(netdev - 8, netdev), ElementsAreArray(want));
}

TEST(ArgvTest, OneThatIsHeldMayFork) {
  const auto argv = BuildArgv({.machine = FullSpec(), .held = true});
  EXPECT_THAT(argv, Contains(testing::HasSubstr("spawn=allow")));
}

}  // namespace
}  // namespace cleanroom::vmm
