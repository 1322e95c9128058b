#include "vmm/accelerator.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "os/file.h"

namespace cleanroom::vmm {
namespace {

using capability::Check;

using std::chrono::milliseconds;

const KvmFacts kGood{.processor = true, .device_problem = ""};
constexpr milliseconds kLaunchLimit{30'000};
constexpr milliseconds kQuick{300};

class AcceleratorTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_.emplace(*os::TempDir::Create());
    store_ = {dir_->path() + "/verdict", "key"};
  }
  // Counts the boots and answers as told.
  BootProbe Probe(Result<milliseconds> answer) {
    return [this, answer](milliseconds limit) {
      ++boots_;
      limit_ = limit;
      return answer;
    };
  }
  Result<AcceleratorDecision> Choose(AcceleratorChoice choice, Result<milliseconds> answer,
                                     const KvmFacts& facts = kGood) {
    return ChooseAccelerator(choice, facts, store_, TrialLimit(choice, kLaunchLimit),
                             Probe(std::move(answer)));
  }
  std::optional<os::TempDir> dir_;
  VerdictStore store_;
  int boots_ = 0;
  milliseconds limit_{0};  // of the last boot
};

TEST_F(AcceleratorTest, WithoutHardwareSupportNothingIsTried) {
  const KvmFacts software{.processor = false, .device_problem = ""};
  auto decision = Choose(AcceleratorChoice::kAuto, kQuick, software);
  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->accelerator, Accelerator::kTcg);
  EXPECT_NE(decision->reason.find("neither vmx nor svm"), std::string::npos);
  auto refused = Choose(AcceleratorChoice::kKvm, kQuick, software);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBackendUnavailable);
  const KvmFacts denied{.processor = true, .device_problem = "open /dev/kvm: Permission denied"};
  EXPECT_EQ(Choose(AcceleratorChoice::kAuto, kQuick, denied)->accelerator, Accelerator::kTcg);
  EXPECT_EQ(boots_, 0);
}

TEST_F(AcceleratorTest, ABootDecidesAndIsRemembered) {
  for (int i = 0; i < 2; ++i) {
    auto decision = Choose(AcceleratorChoice::kAuto, kQuick);
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->accelerator, Accelerator::kKvm);
  }
  EXPECT_EQ(boots_, 1);
  store_.key = "another kernel";
  const auto hang = Err(ErrorCode::kDeadlineExceeded, "no answer \xff");
  for (int i = 0; i < 2; ++i) {
    auto decision = Choose(AcceleratorChoice::kAuto, hang);
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->accelerator, Accelerator::kTcg);
    EXPECT_NE(decision->reason.find("no answer"), std::string::npos);
  }
  EXPECT_EQ(boots_, 2);
}

TEST_F(AcceleratorTest, WhoeverAsksForKvmWaitsAsLongAsForAnyBoot) {
  EXPECT_TRUE(Choose(AcceleratorChoice::kKvm, milliseconds(20'000)));
  EXPECT_EQ(limit_, kLaunchLimit);
  EXPECT_TRUE(Choose(AcceleratorChoice::kKvm, kQuick));
  EXPECT_EQ(boots_, 1) << "it is remembered";
  // Which does not make it a KVM that auto takes.
  const auto hang = Err(ErrorCode::kDeadlineExceeded, "silent");
  EXPECT_EQ(Choose(AcceleratorChoice::kAuto, hang)->accelerator, Accelerator::kTcg);
  EXPECT_LT(limit_, kLaunchLimit / 2);
  EXPECT_EQ(Choose(AcceleratorChoice::kAuto, kQuick)->accelerator, Accelerator::kTcg);
  EXPECT_EQ(boots_, 2) << "it is remembered";
  // Nor is what auto gave up a failure of what has more time.
  EXPECT_TRUE(Choose(AcceleratorChoice::kKvm, milliseconds(20'000)));
  EXPECT_EQ(boots_, 3);
}

TEST_F(AcceleratorTest, MoreTimeDoesNotHelpAMachineThatEnded) {
  const auto ended = Err(ErrorCode::kRuntimeLaunchFailed, "the VMM ended: no such CPU");
  EXPECT_EQ(Choose(AcceleratorChoice::kAuto, ended)->accelerator, Accelerator::kTcg);
  EXPECT_EQ(Choose(AcceleratorChoice::kKvm, kQuick).error().code(), ErrorCode::kBackendUnavailable);
  EXPECT_EQ(boots_, 1);
}

TEST_F(AcceleratorTest, ADamagedVerdictCountsAsNone) {
  ASSERT_TRUE(os::WriteFileAtomic(store_.path, "{\"key\": 7"));
  EXPECT_EQ(Choose(AcceleratorChoice::kAuto, kQuick)->accelerator, Accelerator::kKvm);
  EXPECT_EQ(boots_, 1);
  ASSERT_TRUE(os::WriteFileAtomic(store_.path, R"({"key": "key", "failure": "", "ms": -1})"));
  EXPECT_TRUE(Choose(AcceleratorChoice::kAuto, kQuick));
  EXPECT_EQ(boots_, 2);
}

TEST_F(AcceleratorTest, RemovesWhatWasHalfWritten) {
  const std::string verdict = VerdictPath(dir_->path());
  for (const std::string& path : {verdict, verdict + ".aB3dE6", dir_->path() + "/records.db"}) {
    ASSERT_TRUE(os::WriteFileAtomic(path, "{"));
  }
  RemoveVerdictDrafts(dir_->path());
  EXPECT_TRUE(os::ReadFile(verdict, 10));
  EXPECT_TRUE(os::ReadFile(dir_->path() + "/records.db", 10));
  EXPECT_FALSE(os::ReadFile(verdict + ".aB3dE6", 10));
}

TEST_F(AcceleratorTest, TcgIsNeverArguedWith) {
  EXPECT_EQ(Choose(AcceleratorChoice::kTcg, kQuick)->accelerator, Accelerator::kTcg);
  EXPECT_EQ(boots_, 0);
  EXPECT_EQ(*ParseAcceleratorChoice("kvm"), AcceleratorChoice::kKvm);
  EXPECT_FALSE(ParseAcceleratorChoice("KVM"));
}

TEST_F(AcceleratorTest, DoctorSaysWhatTheChoiceComesTo) {
  const KvmFacts software{.processor = false, .device_problem = ""};
  const KvmFacts denied{.processor = true, .device_problem = "open /dev/kvm: Permission denied"};
  const auto status = [](AcceleratorChoice choice, const KvmFacts& facts) {
    const Check check = CheckAccelerator(choice, facts);
    EXPECT_EQ(check.remedy.empty(), check.status == Check::Status::kOk) << check.message;
    return check.status;
  };
  EXPECT_EQ(status(AcceleratorChoice::kAuto, kGood), Check::Status::kOk);
  EXPECT_EQ(status(AcceleratorChoice::kAuto, software), Check::Status::kWarn);
  EXPECT_EQ(status(AcceleratorChoice::kAuto, denied), Check::Status::kWarn);
  EXPECT_EQ(status(AcceleratorChoice::kKvm, kGood), Check::Status::kOk);
  EXPECT_EQ(status(AcceleratorChoice::kKvm, software), Check::Status::kFail);
  EXPECT_EQ(status(AcceleratorChoice::kKvm, denied), Check::Status::kFail);
  for (const KvmFacts& facts : {kGood, software, denied}) {
    const Check check = CheckAccelerator(AcceleratorChoice::kTcg, facts);
    EXPECT_EQ(check.status, Check::Status::kOk);
    EXPECT_EQ(check.message.find("KVM"), std::string::npos) << check.message;
  }
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
