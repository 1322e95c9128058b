#include "server/api/execution_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/id.h"
#include "base/testing/result_matchers.h"

namespace cleanroom::server {
namespace {

constexpr char kId[] = "01kr7p9ksmfa7rmyypyqw2w8r0";

v1::CreateExecutionRequest Request() {
  v1::CreateExecutionRequest request;
  request.set_sandbox_id(kId);
  request.add_command("true");
  return request;
}

TEST(PlanExecutionTest, CarriesTheRequest) {
  auto request = Request();
  request.mutable_options()->set_tty(true);
  request.mutable_options()->add_env("A=b=c");
  request.mutable_options()->set_timeout_seconds(7);
  const auto plan = PlanExecution(request, std::chrono::system_clock::now());
  ASSERT_THAT(plan, IsOk());
  EXPECT_TRUE(IsId(plan->record.id.text()));
  EXPECT_EQ(plan->record.kind, store::ExecutionKind::kInteractive);
  EXPECT_EQ(plan->timeout, std::chrono::seconds(7));
  EXPECT_TRUE(plan->start.tty());
  EXPECT_TRUE(plan->start.stdin());
  EXPECT_EQ(plan->start.env(0), "A=b=c");
}

TEST(PlanExecutionTest, RefusesBadRequests) {
  const std::vector<std::function<void(v1::CreateExecutionRequest&)>> faults = {
      [](auto& r) { r.set_sandbox_id("../../etc"); },
      [](auto& r) { r.clear_command(); },
      [](auto& r) { r.set_command(0, ""); },
      [](auto& r) { r.add_command(std::string("a\0b", 3)); },
      [](auto& r) { r.mutable_options()->add_env("NOVALUE"); },
      [](auto& r) { r.mutable_options()->add_env("=x"); },
      [](auto& r) { r.mutable_options()->add_env(""); },
      [](auto& r) { r.mutable_options()->set_workdir("relative"); },
      [](auto& r) { r.mutable_options()->set_timeout_seconds(-1); },
      [](auto& r) { r.mutable_options()->set_launch_seconds(-1); },
      [](auto& r) { r.mutable_options()->mutable_window()->set_rows(-1); },
      [](auto& r) { r.add_command(std::string(kMaxArgumentBytes, 'x')); },
  };
  ASSERT_TRUE(PlanExecution(Request(), std::chrono::system_clock::now()));
  for (size_t i = 0; i < faults.size(); ++i) {
    auto request = Request();
    faults[i](request);
    const auto plan = PlanExecution(request, std::chrono::system_clock::now());
    ASSERT_FALSE(plan) << i;
    EXPECT_EQ(plan.error().code(), ErrorCode::kInvalidArgument) << i;
  }
}

}  // namespace
}  // namespace cleanroom::server
