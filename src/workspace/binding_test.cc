#include "workspace/binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/testing/result_matchers.h"
#include "workspace/testing/test_repository.h"

namespace cleanroom::workspace {
namespace {

using ::testing::HasSubstr;

constexpr const char* kId = "01kr7p9ksmfa7rmyypyqw2w8r0";

class BindingTest : public ::testing::Test {
 protected:
  Binding Sample() const {
    return {
        .sandbox_id = kId,
        .local_root = "/home/me/app",
        .remote_identity = "host.example/team/app",
        .object_format = "sha1",
        .sandbox_root = "/workspace",
        .made = std::chrono::sys_seconds(std::chrono::seconds(1'700'000'000)),
        .baseline = {
            .commit = std::string(40, 'a'),
            .manifest = {{.path = "a\nb",
                          .mode = "100644",
                          .id = std::string(40, 'b'),
                          .sha256 = std::string(64, 'c'),
                          .deleted = false},
                         {.path = "gone", .mode = {}, .id = {}, .sha256 = {}, .deleted = true}}}};
  }
  os::TempDir folder_ = *os::TempDir::Create();
  BindingStore store_{folder_.path()};
};

TEST_F(BindingTest, IsKeptAndRemoved) {
  EXPECT_THAT(store_.Load(kId), IsOkAnd(::testing::ResultOf(
                                    [](const auto& found) { return found.has_value(); }, false)));
  ASSERT_THAT(store_.Save(Sample()), IsOk());
  const std::string path = folder_.path() + "/workspaces/" + kId + ".json";
  struct stat info = {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  const auto loaded = store_.Load(kId);
  ASSERT_THAT(loaded, IsOk());
  ASSERT_TRUE(*loaded);
  EXPECT_EQ((*loaded)->local_root, "/home/me/app");
  EXPECT_EQ((*loaded)->remote_identity, "host.example/team/app");
  EXPECT_EQ((*loaded)->made, Sample().made);
  EXPECT_EQ((*loaded)->baseline.manifest, Sample().baseline.manifest);

  const std::chrono::sys_seconds written{std::chrono::seconds(info.st_mtim.tv_sec)};
  store_.RemoveOld(written + BindingStore::kKept);
  EXPECT_TRUE(std::filesystem::exists(path));
  store_.RemoveOld(written + BindingStore::kKept + std::chrono::hours(1));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(store_.Remove(kId), IsOk());
}

TEST_F(BindingTest, DistrustsItsFiles) {
  EXPECT_THAT(store_.Load("../../etc/passwd"), HasError(ErrorCode::kInvalidArgument));
  Binding bad = Sample();
  bad.baseline.manifest[0].path = "../../outside";
  ASSERT_THAT(store_.Save(bad), IsOk());
  EXPECT_THAT(store_.Load(kId), HasError(ErrorCode::kDataCorrupt, HasSubstr("is damaged")));
  ASSERT_TRUE(os::ReplaceFile(folder_.path() + "/workspaces/" + kId + ".json", "[[[["));
  EXPECT_THAT(store_.Load(kId), HasError(ErrorCode::kDataCorrupt));
}

TEST_F(BindingTest, TheBoundWorkTreeGoesFirst) {
  const TestRepository bound, other;
  for (const TestRepository* made : {&bound, &other}) {
    made->Run("git remote set-url origin https://host.example/team/app.git");
    made->Run(
        "GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' git "
        "commit -q "
        "--allow-empty -m same");
  }
  const std::string commit = bound.Run("git rev-parse HEAD");
  ASSERT_EQ(other.Run("git rev-parse HEAD"), commit);
  const SandboxOrigin origin = {.remote_identity = "host.example/team/app", .commit = commit};
  Binding binding = Sample();
  binding.baseline.commit = commit;
  binding.local_root = std::filesystem::canonical(bound.top());

  auto target = ChooseCopyTarget(binding, origin, "origin", other.top());
  ASSERT_THAT(target, IsOk());
  EXPECT_EQ(target->repository.top, binding.local_root);
  EXPECT_EQ(target->baseline.manifest.size(), 2U);

  target = ChooseCopyTarget(std::nullopt, origin, "origin", other.top());
  ASSERT_THAT(target, IsOk());
  EXPECT_EQ(target->repository.top, std::filesystem::canonical(other.top()).string());
  binding.local_root += "/moved";
  target = ChooseCopyTarget(binding, origin, "origin", other.top());
  ASSERT_THAT(target, IsOk());
  EXPECT_EQ(target->baseline.manifest.size(), 2U);

  EXPECT_THAT(ChooseCopyTarget(std::nullopt, {"host.example/else", commit}, "origin", other.top()),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("host.example/else")));
  EXPECT_THAT(ChooseCopyTarget(std::nullopt, origin, "origin", "/"),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("no work tree to copy out to")));
  other.Commit("another");
  EXPECT_THAT(ChooseCopyTarget(std::nullopt, origin, "origin", other.top()),
              HasError(ErrorCode::kFailedPrecondition, HasSubstr("began with")));
}

}  // namespace
}  // namespace cleanroom::workspace
