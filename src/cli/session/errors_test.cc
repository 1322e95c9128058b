#include "cli/session/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cleanroom::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Hint(ErrorCode code, const std::string& message) {
  return Remedy(Error(code, message));
}

TEST(Remedy, FollowsWhatIsUnavailable) {
  EXPECT_THAT(Hint(ErrorCode::kUnavailable, "no daemon answers at unix:///x (there is no socket)"),
              HasSubstr("cleanroom serve"));
  EXPECT_THAT(Hint(ErrorCode::kUnavailable, "the peer has not answered for 40 s"),
              HasSubstr("cleanroom doctor"));
  for (const char* message : {"the sandbox ended before the command did", "the machine ended",
                              "the guest ended the command without an exit code",
                              "the warden ended the record without an end"}) {
    EXPECT_THAT(Hint(ErrorCode::kUnavailable, message), HasSubstr("cleanroom sandbox ls --all"))
        << message;
  }
}

TEST(Remedy, NamesTheRegistryThatCannotBeReached) {
  const std::string hint =
      Hint(ErrorCode::kUpstreamError,
           "image r.example:5000/app:v: https://r.example:5000: Couldn't connect to server");
  EXPECT_THAT(hint, HasSubstr("curl -I https://r.example:5000/v2/"));
  EXPECT_THAT(hint, HasSubstr("daemon's host"));
  EXPECT_THAT(hint, Not(HasSubstr("doctor")));
  EXPECT_THAT(Hint(ErrorCode::kUpstreamError, "image [::1]:5/app:v: http://[::1]:5: timed out"),
              HasSubstr("curl -I http://[::1]:5/v2/"));
}

TEST(Remedy, TellsWhatIsTooLargeFromWhatIsFull) {
  EXPECT_THAT(Hint(ErrorCode::kResourceExhausted, "a message larger than the limit of 5 bytes"),
              HasSubstr("less at once"));
  EXPECT_THAT(Hint(ErrorCode::kResourceExhausted,
                   "image r/x: layer sha256:1: it unpacks to more than 5 bytes"),
              HasSubstr("another image"));
  EXPECT_THAT(Hint(ErrorCode::kResourceExhausted,
                   "image r/x: layer sha256:1: write: No space left on device"),
              HasSubstr("Free something"));
  EXPECT_THAT(Hint(ErrorCode::kResourceExhausted, "no memory is left for a machine"),
              HasSubstr("Free something"));
}

TEST(Remedy, LeadsToWhatIsWrong) {
  EXPECT_THAT(Hint(ErrorCode::kUnavailable,
                   "https://h:1: the daemon's certificate is not trusted by the system's"),
              HasSubstr("--tls-ca"));
  EXPECT_THAT(Remedy(Error::FromErrno(ErrorCode::kPermissionDenied, 13, "open /a/b")),
              HasSubstr("ls -ld /a/b"));
  EXPECT_THAT(Hint(ErrorCode::kPermissionDenied, "not yours"), HasSubstr("doctor"));
  EXPECT_THAT(Remedy(Error::FromErrno(ErrorCode::kResourceExhausted, 28, "write standard output")),
              HasSubstr("Send the output elsewhere"));
  EXPECT_THAT(Hint(ErrorCode::kFailedPrecondition, "neither HOME nor X is set; set HOME"),
              HasSubstr("Set HOME"));
  EXPECT_THAT(Hint(ErrorCode::kInvalidArgument, "no image: pass --image REF"),
              HasSubstr("--image docker.io/"));
  EXPECT_THAT(Hint(ErrorCode::kInvalidArgument, "/c/config.yaml:1:2: unknown key `x`"),
              HasSubstr("cleanroom config validate"));
  EXPECT_THAT(Hint(ErrorCode::kNotFound,
                   "image r/app:v: the manifest: the registry answers with status 404"),
              HasSubstr("Check the reference"));
  EXPECT_THAT(
      Hint(ErrorCode::kUnauthenticated, "image r/app:v: the registry answers with status 401"),
      HasSubstr("docker login"));
  EXPECT_THAT(Hint(ErrorCode::kUnauthenticated, "no token"), HasSubstr("--auth-token"));
  EXPECT_THAT(Hint(ErrorCode::kDataCorrupt, "the archive x.tar: the tar is cut off"),
              HasSubstr("tar tf"));
  EXPECT_EQ(Remedy(Error(ErrorCode::kInvalidArgument, "bad"), "cleanroom image pull"),
            "See how it is used with: cleanroom image pull --help");
}

TEST(Remedy, TellsARegistryInTroubleFromAWrongReference) {
  EXPECT_THAT(Hint(ErrorCode::kUpstreamError,
                   "image r.example/app:v: the registry answers with status 503"),
              HasSubstr("try again later"));
  EXPECT_THAT(Hint(ErrorCode::kUpstreamError,
                   "image r.example/app:v: the registry answers with status 400: no such thing"),
              HasSubstr("cleanroom image resolve REF"));
  EXPECT_THAT(Hint(ErrorCode::kUpstreamError, "the token server's answer has no token"),
              HasSubstr("cleanroom image resolve REF"));
}

}  // namespace
}  // namespace cleanroom::cli
