#include "cli/commands/run_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Pair {
  const char* a;
  const char* b;
  RunFlags flags;
};

TEST(RunFlagsTest, NamesThePairThatContradicts) {
  const Pair pairs[] = {
      {"--in", "--from", {.sandbox_id = "x", .from = "s"}},
      {"--in", "--image", {.image = "i", .sandbox_id = "x"}},
      {"--in", "--keep", {.sandbox_id = "x", .keep = true}},
      {"--in", "--repo-url", {.sandbox_id = "x", .repo_url = "u"}},
      {"--copy-in", "--repo-url", {.repo_url = "u", .copy_in = true}},
      {"--copy-out", "--repo-url", {.repo_url = "u", .copy_out = true}},
      {"--sync", "--repo-url", {.repo_url = "u", .sync = true}},
      {"--copy-in", "--repo-commit", {.repo_commit = "c", .copy_in = true}},
      {"--copy-out", "--repo-commit", {.repo_commit = "c", .copy_out = true}},
      {"--sync", "--repo-commit", {.repo_commit = "c", .sync = true}},
      {"--in", "--chdir", {.chdir = "d", .sandbox_id = "x"}},
      {"--tty", "--no-stdin", {.tty = true, .no_stdin = true}},
      {"--rm", "--keep", {.rm = true, .keep = true}},
      {"--in", "-c", {.policy_file = "f", .sandbox_id = "x"}},
      {"--in", "--dangerously-allow-all", {.sandbox_id = "x", .dangerously_allow_all = true}},
  };
  for (const Pair& pair : pairs) {
    const auto result = CheckRunFlags(pair.flags, RunKind::kExec);
    ASSERT_FALSE(result.has_value()) << pair.a << " " << pair.b;
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(result.error().message(),
                AllOf(HasSubstr(pair.a), HasSubstr(pair.b), HasSubstr("contradict")));
  }
}

TEST(RunFlagsTest, AFolderMattersToASandboxThatItsFilesAreCopiedFrom) {
  const auto result =
      CheckRunFlags({.chdir = "d", .sandbox_id = "x", .copy_in = true}, RunKind::kExec);
  EXPECT_TRUE(result.has_value());
}

TEST(RunFlagsTest, RefusesWhatCannotBeEnforcedNamingTheFlag) {
  const std::pair<const char*, RunFlags> cases[] = {
      {"--from", {.from = "s"}},
      {"--expose ", {.expose = {"80"}}},
      {"--expose-https", {.expose_https = {"80"}}},
      {"--docker", {.docker = true}},
  };
  for (const auto& [name, flags] : cases) {
    const auto result = CheckRunFlags(flags, RunKind::kSandboxCreate);
    ASSERT_FALSE(result.has_value()) << name;
    EXPECT_EQ(result.error().code(), ErrorCode::kBackendCapabilityMismatch);
    EXPECT_THAT(result.error().message(), HasSubstr(name));
  }
}

TEST(RunFlagsTest, AcceptsWhatGoesTogether) {
  EXPECT_TRUE(CheckRunFlags({}, RunKind::kExec).has_value());
  EXPECT_TRUE(
      CheckRunFlags({.sandbox_id = "x", .rm = true, .print_sandbox_id = true}, RunKind::kExec)
          .has_value());
  EXPECT_TRUE(CheckRunFlags({.policy_file = "f", .image = "i", .workdir = "/w"}, RunKind::kConsole)
                  .has_value());
  EXPECT_FALSE(CheckRunFlags({.workdir = "w"}, RunKind::kExec).has_value());
}

}  // namespace
}  // namespace cleanroom::cli
