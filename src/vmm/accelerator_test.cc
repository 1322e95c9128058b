#include "vmm/accelerator.h"

#include <gtest/gtest.h>

#include <chrono>

#include "os/file.h"

namespace cleanroom::vmm {
namespace {

class AcceleratorTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_.emplace(*os::TempDir::Create());
    store_ = {dir_->path() + "/verdict", "key"};
  }
  // Counts the boots and answers as told.
  BootProbe Probe(Result<void> answer) {
    return [this, answer] {
      ++boots_;
      return answer;
    };
  }
  std::optional<os::TempDir> dir_;
  VerdictStore store_;
  int boots_ = 0;
};

const KvmFacts kGood{.processor = true, .device_problem = ""};

TEST_F(AcceleratorTest, WithoutHardwareSupportNothingIsTried) {
  const KvmFacts software{.processor = false, .device_problem = ""};
  auto decision = ChooseAccelerator(AcceleratorChoice::kAuto, software, store_, Probe({}));
  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->accelerator, Accelerator::kTcg);
  EXPECT_NE(decision->reason.find("neither vmx nor svm"), std::string::npos);
  auto refused = ChooseAccelerator(AcceleratorChoice::kKvm, software, store_, Probe({}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBackendUnavailable);
  const KvmFacts denied{.processor = true, .device_problem = "open /dev/kvm: Permission denied"};
  EXPECT_EQ(ChooseAccelerator(AcceleratorChoice::kAuto, denied, store_, Probe({}))->accelerator,
            Accelerator::kTcg);
  EXPECT_EQ(boots_, 0);
}

TEST_F(AcceleratorTest, ABootDecidesAndIsRemembered) {
  for (int i = 0; i < 2; ++i) {
    auto decision = ChooseAccelerator(AcceleratorChoice::kAuto, kGood, store_, Probe({}));
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->accelerator, Accelerator::kKvm);
  }
  EXPECT_EQ(boots_, 1);
  store_.key = "another kernel";
  const auto hang = Err(ErrorCode::kDeadlineExceeded, "no answer \xff");
  for (int i = 0; i < 2; ++i) {
    auto decision = ChooseAccelerator(AcceleratorChoice::kAuto, kGood, store_, Probe(hang));
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->accelerator, Accelerator::kTcg);
    EXPECT_NE(decision->reason.find("no answer"), std::string::npos);
  }
  EXPECT_EQ(boots_, 2);
  EXPECT_EQ(ChooseAccelerator(AcceleratorChoice::kKvm, kGood, store_, Probe({})).error().code(),
            ErrorCode::kBackendUnavailable);
  EXPECT_EQ(boots_, 2);
}

TEST_F(AcceleratorTest, ADamagedVerdictCountsAsNone) {
  ASSERT_TRUE(os::WriteFileAtomic(store_.path, "{\"key\": 7"));
  EXPECT_EQ(ChooseAccelerator(AcceleratorChoice::kAuto, kGood, store_, Probe({}))->accelerator,
            Accelerator::kKvm);
  EXPECT_EQ(boots_, 1);
}

TEST_F(AcceleratorTest, TcgIsNeverArguedWith) {
  EXPECT_EQ(ChooseAccelerator(AcceleratorChoice::kTcg, kGood, store_, Probe({}))->accelerator,
            Accelerator::kTcg);
  EXPECT_EQ(boots_, 0);
  EXPECT_EQ(*ParseAcceleratorChoice("kvm"), AcceleratorChoice::kKvm);
  EXPECT_FALSE(ParseAcceleratorChoice("KVM"));
}

TEST_F(AcceleratorTest, ReadsProcessorFlags) {
  EXPECT_TRUE(ShowsVirtualization("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
  EXPECT_TRUE(ShowsVirtualization("x\nflags\t\t: fpu svm"));
  EXPECT_FALSE(ShowsVirtualization("x\nflags\t\t: fpu vmxx sse\nvmx flags\t: vmx ept\n"));
  EXPECT_FALSE(ShowsVirtualization(""));
  const auto begin = std::chrono::steady_clock::now();
  ReadKvmFacts();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST_F(AcceleratorTest, TheKeyFollowsKernelAndBinary) {
  const std::string key = *MakeVerdictKey("k1", "/bin/sh");
  EXPECT_EQ(key, *MakeVerdictKey("k1", "/bin/sh"));
  EXPECT_NE(key, *MakeVerdictKey("k2", "/bin/sh"));
  EXPECT_NE(key, *MakeVerdictKey("k1", "/bin/cat"));
  EXPECT_FALSE(MakeVerdictKey("k1", "/nonexistent"));
}

}  // namespace
}  // namespace cleanroom::vmm
