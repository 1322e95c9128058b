#include "guest/exec/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::guest {
namespace {

using ::testing::ElementsAre;

TEST(EnvironmentTest, LaterWinsAndOrderStays) {
  EXPECT_THAT(MergeEnvironment({"PATH=/a", "X=1", "HOME=/h", "X=2"}, {"Y=", "X=3=4"}, {}),
              ElementsAre("PATH=/a", "X=3=4", "HOME=/h", "Y="));
}

TEST(EnvironmentTest, DefaultsFillGaps) {
  EXPECT_THAT(
      MergeEnvironment({}, {"TERM=vt100"}, {.home = "/root", .hostname = "box", .terminal = true}),
      ElementsAre("TERM=vt100", "PATH=" + std::string(kDefaultPath), "HOME=/root", "HOSTNAME=box"));
  EXPECT_EQ(Lookup(MergeEnvironment({}, {}, {.home = "/", .terminal = true}), "TERM"), "xterm");
}

TEST(EnvironmentTest, MalformedEntriesAreLeftOut) {
  EXPECT_THAT(
      MergeEnvironment({"PATH=/a", "novalue", "=x", "", std::string("N=a\0b", 5)}, {"HOME=/"}, {}),
      ElementsAre("PATH=/a", "HOME=/"));
}

TEST(EnvironmentTest, LookupMatchesWholeKeys) {
  EXPECT_EQ(Lookup({"PATHX=1", "PAT=2", "PATH=3"}, "PATH"), "3");
  EXPECT_EQ(Lookup({"PATHX=1"}, "PATH"), "");
}

TEST(EnvironmentTest, CandidatesFollowThePath) {
  EXPECT_THAT(ProgramCandidates("ls", "/bin::/usr/bin"),
              ElementsAre("/bin/ls", "./ls", "/usr/bin/ls"));
  EXPECT_THAT(ProgramCandidates("./ls", "/bin"), ElementsAre("./ls"));
  EXPECT_THAT(ProgramCandidates("ls", ""), ElementsAre("./ls"));
}

}  // namespace
}  // namespace cleanroom::guest
