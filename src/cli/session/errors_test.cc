#include "cli/session/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace cleanroom::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The message says nothing on purpose: a remedy follows what is known, never the words.
std::string Hint(ErrorCode code, SubjectKind about = SubjectKind::kNone) {
  return Remedy(Error(code, "x").About(about, "name"));
}

TEST(Remedy, FollowsWhatIsUnavailable) {
  EXPECT_THAT(Hint(ErrorCode::kUnavailable, SubjectKind::kDaemon), HasSubstr("cleanroom serve"));
  EXPECT_THAT(Hint(ErrorCode::kUnavailable), HasSubstr("cleanroom doctor"));
  EXPECT_THAT(Hint(ErrorCode::kUnavailable, SubjectKind::kSandbox),
              HasSubstr("cleanroom sandbox ls --all"));
  EXPECT_THAT(Hint(ErrorCode::kUnavailable, SubjectKind::kCertificate), HasSubstr("--tls-ca"));
  EXPECT_THAT(Hint(ErrorCode::kUnavailable, SubjectKind::kRegistry), Not(HasSubstr("serve")));
}

TEST(Remedy, FollowsWhatIsNotFound) {
  EXPECT_THAT(Hint(ErrorCode::kNotFound, SubjectKind::kPolicy), HasSubstr("docs/policy.md"));
  EXPECT_THAT(Hint(ErrorCode::kNotFound, SubjectKind::kSandbox), HasSubstr("cleanroom sandbox ls"));
  EXPECT_THAT(Hint(ErrorCode::kNotFound, SubjectKind::kExecution),
              HasSubstr("cleanroom execution ls"));
  EXPECT_THAT(Hint(ErrorCode::kNotFound, SubjectKind::kImage), HasSubstr("cleanroom image ls"));
  EXPECT_THAT(Hint(ErrorCode::kNotFound, SubjectKind::kFile), HasSubstr("Check the path"));
  EXPECT_THAT(Hint(ErrorCode::kNotFound), HasSubstr("Check the name"));
}

TEST(Remedy, OfTheCauseGoesFirst) {
  const Error error = Error(ErrorCode::kUnauthenticated, "image r.example/app: status 401")
                          .About(SubjectKind::kRegistry, "r.example")
                          .Remedy("Log in with: docker login r.example");
  EXPECT_EQ(Remedy(error), "Log in with: docker login r.example");
  EXPECT_THAT(Hint(ErrorCode::kUnauthenticated), HasSubstr("--auth-token"));
}

// What other modules' words happen to contain changes nothing.
TEST(Remedy, DoesNotLookIntoTheMessage) {
  for (const char* message :
       {"sandbox", "no daemon answers", "the registry answers with status 401", "set HOME",
        "the archive", "image x: layer y", "/c/config.yaml:1:2: unknown key", "; see: rm -rf"}) {
    for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
      const auto code = static_cast<ErrorCode>(i);
      EXPECT_EQ(Remedy(Error(code, message)), Remedy(Error(code, ""))) << message;
    }
  }
}

TEST(Remedy, TellsWhatIsOfThisMachineFromWhatIsOfTheDaemons) {
  EXPECT_EQ(Remedy(Error::FromErrno(ErrorCode::kPermissionDenied, 13, "open /a/b")
                       .About(SubjectKind::kFile, "/a/b")),
            "Look who may use it with: ls -ld /a/b");
  EXPECT_THAT(Hint(ErrorCode::kPermissionDenied), HasSubstr("doctor"));
  EXPECT_THAT(Remedy(Error::FromErrno(ErrorCode::kResourceExhausted, 28, "write")),
              HasSubstr("Make room on this machine"));
  EXPECT_THAT(Hint(ErrorCode::kResourceExhausted), HasSubstr("Free something"));
}

TEST(Remedy, LeadsToWhatIsWrong) {
  EXPECT_THAT(Hint(ErrorCode::kInvalidArgument, SubjectKind::kConfig),
              HasSubstr("cleanroom config validate"));
  EXPECT_THAT(Hint(ErrorCode::kDataCorrupt, SubjectKind::kArchive), HasSubstr("tar tf"));
  EXPECT_THAT(Hint(ErrorCode::kDataCorrupt, SubjectKind::kImage), HasSubstr("image resolve REF"));
  EXPECT_THAT(Hint(ErrorCode::kUpstreamError), HasSubstr("cleanroom image resolve REF"));
  EXPECT_THAT(Hint(ErrorCode::kFailedPrecondition, SubjectKind::kImage),
              Not(HasSubstr("sandbox ls")));
  EXPECT_THAT(Hint(ErrorCode::kFailedPrecondition, SubjectKind::kSandbox), HasSubstr("sandbox ls"));
  EXPECT_EQ(Remedy(Error(ErrorCode::kInvalidArgument, "bad"), "cleanroom image pull"),
            "See how it is used with: cleanroom image pull --help");
  EXPECT_EQ(Remedy(UsageError("bad", "cleanroom image ls"), "cleanroom"),
            "See how it is used with: cleanroom image ls --help");
}

TEST(Describe, IsTwoLinesThatATerminalMayShow) {
  const Error error = Error(ErrorCode::kNotFound, "no \x1b[2J").Remedy("Look\nhere");
  const std::string text = Describe(error);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace cleanroom::cli
