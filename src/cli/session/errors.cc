#include "cli/session/errors.h"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "cli/output/text.h"
#include "cli/session/invocation.h"

namespace cleanroom::cli {
namespace {

constexpr const char* kCheckRegistry =
    "Check the registry and the reference with: cleanroom image resolve REF";
constexpr const char* kCheckRemote =
    "Check the repository, as the user that runs cleanroomd, with: git ls-remote URL";
constexpr const char* kSeeSandboxes = "See the state of things with: cleanroom sandbox ls --all";

// What this machine's system refused: errors of the daemon come without an errno. Empty when there
// is nothing better to say than by the code.
std::string LocalRemedy(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kPermissionDenied:
      if (error.subject().kind != SubjectKind::kFile) return "";
      return "Look who may use it with: ls -ld " + error.subject().name;
    case ErrorCode::kNotFound:
      return "Check the path, and try again";
    case ErrorCode::kResourceExhausted:
      return "Make room on this machine, and try again";
    case ErrorCode::kInternal:
      return "Put that right on this machine, and try again";
    default:
      return "";
  }
}

std::string UnavailableRemedy(SubjectKind about) {
  switch (about) {
    case SubjectKind::kDaemon:
      return "Start one with: cleanroom serve &   (or name another with --host URL)";
    case SubjectKind::kCertificate:
      return "Trust who signed it with --tls-ca FILE, or put that file at tls/ca.pem in the "
             "config's folder (~/.config/cleanroom)";
    case SubjectKind::kSandbox:
    case SubjectKind::kExecution:
      return "See how the sandbox ended with: cleanroom sandbox ls --all";
    case SubjectKind::kImage:
    case SubjectKind::kRegistry:
      return kCheckRegistry;
    case SubjectKind::kRepository:
      return kCheckRemote;
    default:
      return "Look whether the daemon still runs with: cleanroom doctor";
  }
}

std::string NotFoundRemedy(SubjectKind about) {
  switch (about) {
    case SubjectKind::kPolicy:
      return "Write one (docs/policy.md), or run in the folder that has it";
    case SubjectKind::kSandbox:
      return "See which there are with: cleanroom sandbox ls --all";
    case SubjectKind::kExecution:
      return "See which there are with: cleanroom execution ls --all";
    case SubjectKind::kImage:
      return "See which there are with: cleanroom image ls";
    case SubjectKind::kRegistry:
      return kCheckRegistry;
    case SubjectKind::kRepository:
      return kCheckRemote;
    case SubjectKind::kFile:
    case SubjectKind::kConfig:
      return "Check the path, and try again";
    default:
      return "Check the name and try again";
  }
}

bool IsOfRegistry(SubjectKind about) {
  return about == SubjectKind::kImage || about == SubjectKind::kRegistry;
}

}  // namespace

std::string Remedy(const Error& error, std::string_view command) {
  // Whoever knew the cause knew best.
  if (!error.remedy().empty()) return error.remedy();
  if (error.errno_value() != 0) {
    std::string local = LocalRemedy(error);
    if (!local.empty()) return local;
  }
  const SubjectKind about = error.subject().kind;
  switch (error.code()) {
    case ErrorCode::kUnavailable:
      return UnavailableRemedy(about);
    case ErrorCode::kPolicyInvalid:
      return "Correct the policy, then check it with: cleanroom policy validate";
    case ErrorCode::kPolicyConflict:
      return "Compare the policies with: cleanroom policy validate, cleanroom sandbox inspect ID";
    case ErrorCode::kNotFound:
      return NotFoundRemedy(about);
    case ErrorCode::kInvalidArgument:
      if (about == SubjectKind::kConfig)
        return "Correct the config, then check it with: cleanroom config validate";
      return fmt::format("See how it is used with: {} --help", command);
    case ErrorCode::kBackendCapabilityMismatch:
      return "Leave it out, or see what this host can enforce with: cleanroom doctor";
    case ErrorCode::kBackendUnavailable:
    case ErrorCode::kRuntimeLaunchFailed:
      return "See what is missing on the daemon's host with: cleanroom doctor";
    case ErrorCode::kUnauthenticated:
      return "Pass --auth-token TOKEN, or set CLEANROOM_AUTH_TOKEN";
    case ErrorCode::kPermissionDenied:
      return "Run it as the user who owns it, or see which daemon answers with: cleanroom doctor";
    case ErrorCode::kFailedPrecondition:
      return IsOfRegistry(about) ? kCheckRegistry : kSeeSandboxes;
    case ErrorCode::kResourceExhausted:
      return "Free something first: cleanroom sandbox ls, cleanroom sandbox rm ID, cleanroom image "
             "rm REF";
    case ErrorCode::kUpstreamError:
      return about == SubjectKind::kRepository ? kCheckRemote : kCheckRegistry;
    case ErrorCode::kDataCorrupt:
      if (about == SubjectKind::kArchive)
        return "Make the archive again, or look into it with: tar tf FILE";
      if (about == SubjectKind::kRepository) return "Check the repository with: git fsck";
      return kCheckRegistry;
    case ErrorCode::kHostNotAllowed:
    case ErrorCode::kRegistryNotAllowed:
    case ErrorCode::kLockfileViolation:
    case ErrorCode::kSecretScopeViolation:
      return "Allow it in cleanroom.yaml, then check with: cleanroom policy validate";
    case ErrorCode::kDeadlineExceeded:
      return "Try again, with a longer limit if it takes one";
    case ErrorCode::kAlreadyExists:
      return "Use another name, or --force where the command has it";
    case ErrorCode::kCanceled:
      return "Run it again";
    case ErrorCode::kUnimplemented:
      return "See what this version has with: cleanroom --help";
    case ErrorCode::kInternal:
      return "See the daemon's log, and check the host with: cleanroom doctor";
  }
  return "See: cleanroom --help";
}

std::string Describe(const Error& error, std::string_view command) {
  return fmt::format("cleanroom: {}\n{}\n", Printable(error.ToString(), Newlines::kKeep),
                     Printable(Remedy(error, command)));
}

Error UsageError(const std::string& message, const std::string& command) {
  return Error(ErrorCode::kInvalidArgument, message)
      .Remedy(fmt::format("See how it is used with: {} --help", command));
}

int Fail(const Error& error) { return Fail(Invocation(), error); }

int Fail(const Invocation& invocation, const Error& error) {
  const std::string text = Describe(error, invocation.name);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return invocation.failure_code;
}

void PrintWarning(std::string_view text) {
  const std::string line = "cleanroom: warning: " + Printable(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace cleanroom::cli
