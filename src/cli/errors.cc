#include "cli/errors.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/invocation.h"
#include "cli/text.h"

namespace cleanroom::cli {
namespace {

constexpr std::string_view kSee = "; see: ";
constexpr const char* kCheckRegistry =
    "Check the registry and the reference with: cleanroom image resolve REF";

// The server that a registry's error names, "https://host:port"; empty without one.
std::string ServerOf(const std::string& message) {
  size_t begin = message.find("https://");
  if (begin == std::string::npos) begin = message.find("http://");
  if (begin == std::string::npos) return "";
  const size_t end = message.find_first_of("/ ,", message.find("://", begin) + 3);
  std::string server = message.substr(begin, end == std::string::npos ? end : end - begin);
  if (server.ends_with(':')) server.pop_back();
  return server;
}

// A registry failed, or could not be reached, seen from the daemon's host.
std::string RegistryRemedy(const std::string& message) {
  if (message.find("answers with status") != std::string::npos) {
    if (message.find("status 5") != std::string::npos || message.find("429") != std::string::npos)
      return "The registry is in trouble: try again later, or ask who runs it";
    return "Check the reference, and what the registry says about it, with: cleanroom image "
           "resolve REF";
  }
  const std::string server = ServerOf(message);
  if (server.empty()) return kCheckRegistry;
  return fmt::format(
      "Check, on the daemon's host, that the registry can be reached: curl -I {}/v2/", server);
}

}  // namespace

std::string Remedy(const Error& error) {
  const std::string& message = error.message();
  const auto about = [&message](std::string_view word) {
    return message.find(word) != std::string::npos;
  };
  switch (error.code()) {
    case ErrorCode::kUnavailable:
      if (about("no daemon answers"))
        return "Start one with: cleanroom serve &   (or name another with --host URL)";
      if (about("sandbox ended") || about("machine ended") || about("guest") || about("warden"))
        return "See how the sandbox ended with: cleanroom sandbox ls --all";
      return "Look whether the daemon still runs with: cleanroom doctor";
    case ErrorCode::kPolicyInvalid:
      return "Correct the policy, then check it with: cleanroom policy validate";
    case ErrorCode::kPolicyConflict:
      return "Compare the policies with: cleanroom policy validate, cleanroom sandbox inspect ID";
    case ErrorCode::kNotFound:
      if (about("sandbox")) return "See which there are with: cleanroom sandbox ls --all";
      if (about("execution")) return "See which there are with: cleanroom execution ls --all";
      if (about("image")) return "See which there are with: cleanroom image ls";
      return "Check the name and try again";
    case ErrorCode::kInvalidArgument: {
      const size_t see = message.rfind(kSee);
      if (see != std::string::npos)
        return "See how it is used with: " + message.substr(see + kSee.size());
      return "See how it is used with: cleanroom --help";
    }
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
      return "See the state of things with: cleanroom sandbox ls --all";
    case ErrorCode::kResourceExhausted:
      if (about("larger than the limit")) return "Send less at once";
      if (about("image ") && about("layer ") && !about("No space") && !about("quota"))
        return "Use another image: what one may take is in docs/images.md";
      return "Free something first: cleanroom sandbox ls, cleanroom sandbox rm ID, cleanroom image "
             "rm REF";
    case ErrorCode::kUpstreamError:
      return RegistryRemedy(message);
    case ErrorCode::kDataCorrupt:
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

std::string Describe(const Error& error) {
  // The place to look stands in the remedy, so not twice.
  std::string text = error.ToString();
  if (error.code() == ErrorCode::kInvalidArgument) text = text.substr(0, text.rfind(kSee));
  return fmt::format("cleanroom: {}\n{}\n", Printable(text, Newlines::kKeep), Remedy(error));
}

Error UsageError(const std::string& message, const std::string& command) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("{}{}{} --help", message, kSee, command));
}

int Fail(const Error& error) {
  const std::string text = Describe(error);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return 1;
}

}  // namespace cleanroom::cli
