// The client library as somebody else uses it: installed under a prefix, found by CMake, built into
// a program, run against a daemon.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "os/file.h"
#include "support/daemon.h"
#include "support/program.h"

namespace cleanroom::test {
namespace {

TEST(ClientPackageTest, AConsumerBuildsAndRuns) {
  auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder.has_value());
  const std::string prefix = folder->path() + "/prefix";
  const std::string build = folder->path() + "/build";
  const std::string ours = std::filesystem::path(RequiredEnv("CLEANROOM_BIN")).parent_path();
  const auto step = [](const std::vector<std::string>& argv) {
    const Outcome outcome = test::Run(argv);
    EXPECT_EQ(outcome.code, 0) << argv[1] << ": " << outcome.out << outcome.err;
    return outcome.code == 0;
  };
  ASSERT_TRUE(step({"cmake", "--install", ours, "--prefix", prefix, "--component", "client"}));
  ASSERT_TRUE(step({"cmake", "-G", "Ninja", "-S", RequiredEnv("CLEANROOM_CONSUMER"), "-B", build,
                    "-DCMAKE_PREFIX_PATH=" + prefix}));
  ASSERT_TRUE(step({"cmake", "--build", build}));

  const Daemon daemon;
  const Outcome ran = test::Run(
      {build + "/consumer", BaseImage(daemon)},
      {"CLEANROOM_HOST=unix://" + daemon.socket(), "XDG_STATE_HOME=" + folder->path() + "/state"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "well\n");
}

// Nothing but what a consumer may use.
TEST(ClientPackageTest, OnlyPublicHeadersAreInstalled) {
  auto folder = os::TempDir::Create();
  ASSERT_TRUE(folder.has_value());
  const std::string ours = std::filesystem::path(RequiredEnv("CLEANROOM_BIN")).parent_path();
  ASSERT_EQ(
      test::Run({"cmake", "--install", ours, "--prefix", folder->path(), "--component", "client"})
          .code,
      0);
  std::vector<std::string> headers;
  const std::string include = folder->path() + "/include/cleanroom";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(include)) {
    if (entry.is_regular_file())
      headers.push_back(std::filesystem::relative(entry.path(), include).string());
  }
  std::sort(headers.begin(), headers.end());
  const std::vector<std::string> expected = {"base/error.h",
                                             "base/result.h",
                                             "cleanroom/v1/execution.pb.h",
                                             "cleanroom/v1/files.pb.h",
                                             "cleanroom/v1/image.pb.h",
                                             "cleanroom/v1/policy.pb.h",
                                             "cleanroom/v1/sandbox.pb.h",
                                             "cleanroom/v1/system.pb.h",
                                             "client/client.h",
                                             "client/connect_options.h",
                                             "client/environment.h",
                                             "client/names.h",
                                             "client/policy.h"};
  EXPECT_EQ(headers, expected);
}

}  // namespace
}  // namespace cleanroom::test
