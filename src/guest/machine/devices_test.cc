#include "guest/machine/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/result_matchers.h"
#include "os/file.h"

namespace cleanroom::guest {
namespace {

class DevicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = os::TempDir::Create();
    ASSERT_TRUE(made);
    folder_.emplace(std::move(*made));
  }
  void Write(const std::string& path, const std::string& contents) {
    const std::string whole = folder_->path() + path;
    ASSERT_TRUE(os::MakeDirs(whole.substr(0, whole.rfind('/'))));
    ASSERT_TRUE(os::WriteFileAtomic(whole, contents));
  }
  std::optional<os::TempDir> folder_;
};

TEST_F(DevicesTest, PortsAndDisksAreFoundByName) {
  Write("/class/virtio-ports/vport0p0/dev", "1:2\n");
  Write("/class/virtio-ports/vport1p1/name", "other\n");
  Write("/class/virtio-ports/vport2p1/name", "cleanroom.agent\n");
  Write("/block/vda/serial", "disk");
  Write("/block/vdb/serial", "image\n");
  EXPECT_EQ(FindSerialPort(folder_->path(), "cleanroom.agent").value(), "vport2p1");
  const BlockDevices disks = ListBlockDevices(folder_->path());
  EXPECT_EQ(disks.at("image"), "vdb");
  EXPECT_FALSE(disks.contains("imag"));
  EXPECT_EQ(FindSerialPort("/nonexistent", "x").error().code(), ErrorCode::kNotFound);
}

TEST_F(DevicesTest, ModulesAreOptionalButMustExistWhenListed) {
  EXPECT_TRUE(LoadModules(folder_->path() + "/none"));
  Write("/list", "\n\n/modules/missing.ko\n");
  const auto loaded = LoadModules(folder_->path() + "/list");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(loaded.error().message().find("missing.ko"), std::string::npos);
}

TEST_F(DevicesTest, WaitingEndsWithTheLastErrorOrTheFirstSuccess) {
  auto events = DeviceEvents::Create();
  ASSERT_THAT(events, IsOk());
  int calls = 0;
  const auto late = events->WaitFor(
      [&]() -> Result<std::string> {
        ++calls;
        return Err(ErrorCode::kNotFound, "not yet");
      },
      std::chrono::milliseconds(30));
  EXPECT_EQ(late.error().code(), ErrorCode::kNotFound);
  // Not a busy loop: once at the start, once at the end, and once per event of this host.
  EXPECT_LT(calls, 20);
  EXPECT_EQ(events->WaitFor([] { return Result<std::string>("vda"); }, {}).value(), "vda");
}

}  // namespace
}  // namespace cleanroom::guest
