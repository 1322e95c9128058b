#include "cli/session/errors.h"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "cli/output/text.h"
#include "cli/session/invocation.h"

namespace cleanroom::cli {
namespace {

constexpr std::string_view kSee = "; see: ";
constexpr std::string_view kRegistryAnswers = "the registry answers with status";
constexpr const char* kLogIn =
    "Give the daemon's user the registry's credentials, as by: docker login, podman login, skopeo "
    "login";
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

// Whether a text tells a place in a file, ":LINE:COLUMN: ".
bool TellsPlace(std::string_view text) {
  const auto digits = [&text](size_t at) {
    size_t end = at;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    return end;
  };
  for (size_t at = text.find(':'); at != text.npos; at = text.find(':', at + 1)) {
    const size_t line = digits(at + 1);
    if (line == at + 1 || !text.substr(line).starts_with(':')) continue;
    const size_t column = digits(line + 1);
    if (column > line + 1 && text.substr(column).starts_with(": ")) return true;
  }
  return false;
}

// What this machine's system refused, "open /x: Permission denied": errors of the daemon come
// without an errno. Empty when there is nothing better to say than by the code.
std::string LocalRemedy(const Error& error) {
  const std::string& message = error.message();
  if (message.find("standard output") != std::string::npos)
    return "Send the output elsewhere, or make room where it goes";
  const size_t begin = message.find('/'), end = message.rfind(": ");
  const bool has_path = begin != std::string::npos && end != std::string::npos && begin < end;
  const std::string path = has_path ? message.substr(begin, end - begin) : "it";
  if (error.code() == ErrorCode::kPermissionDenied && !message.starts_with("connect "))
    return fmt::format("Look who may use it with: ls -ld {}", path);
  if (error.code() == ErrorCode::kNotFound) return "Check the path, and try again";
  if (error.code() == ErrorCode::kResourceExhausted)
    return "Make room on this machine, and try again";
  if (error.code() == ErrorCode::kInternal) return "Put that right on this machine, and try again";
  return "";
}

std::string UsageRemedy(const std::string& message, std::string_view command) {
  const size_t see = message.rfind(kSee);
  if (see != std::string::npos)
    return "See how it is used with: " + message.substr(see + kSee.size());
  if (message.starts_with("no image: "))
    return "Name one, for example with: --image docker.io/library/debian:12";
  if (TellsPlace(message))
    return "Correct the config, then check it with: cleanroom config validate";
  return fmt::format("See how it is used with: {} --help", command);
}

}  // namespace

std::string Remedy(const Error& error, std::string_view command) {
  const std::string& message = error.message();
  const auto about = [&message](std::string_view word) {
    return message.find(word) != std::string::npos;
  };
  if (error.errno_value() != 0) {
    std::string local = LocalRemedy(error);
    if (!local.empty()) return local;
  }
  switch (error.code()) {
    case ErrorCode::kUnavailable:
      if (about("no daemon answers"))
        return "Start one with: cleanroom serve &   (or name another with --host URL)";
      if (about("certificate is not trusted"))
        return "Trust who signed it with --tls-ca FILE, or put that file at tls/ca.pem in the "
               "config's folder (~/.config/cleanroom)";
      if (about("sandbox ended") || about("machine ended") || about("guest") || about("warden"))
        return "See how the sandbox ended with: cleanroom sandbox ls --all";
      return "Look whether the daemon still runs with: cleanroom doctor";
    case ErrorCode::kPolicyInvalid:
      return "Correct the policy, then check it with: cleanroom policy validate";
    case ErrorCode::kPolicyConflict:
      return "Compare the policies with: cleanroom policy validate, cleanroom sandbox inspect ID";
    case ErrorCode::kNotFound:
      if (about(".buildkite/cleanroom.yaml"))
        return "Write one (docs/policy.md), or run in the folder that has it";
      if (about(kRegistryAnswers))
        return "Check the reference: the registry has nothing of that name, tag or digest";
      if (about("sandbox")) return "See which there are with: cleanroom sandbox ls --all";
      if (about("execution")) return "See which there are with: cleanroom execution ls --all";
      if (about("image")) return "See which there are with: cleanroom image ls";
      return "Check the name and try again";
    case ErrorCode::kInvalidArgument:
      return UsageRemedy(message, command);
    case ErrorCode::kBackendCapabilityMismatch:
      return "Leave it out, or see what this host can enforce with: cleanroom doctor";
    case ErrorCode::kBackendUnavailable:
    case ErrorCode::kRuntimeLaunchFailed:
      return "See what is missing on the daemon's host with: cleanroom doctor";
    case ErrorCode::kUnauthenticated:
      if (about(kRegistryAnswers)) return kLogIn;
      return "Pass --auth-token TOKEN, or set CLEANROOM_AUTH_TOKEN";
    case ErrorCode::kPermissionDenied:
      if (about(kRegistryAnswers)) return kLogIn;
      return "Run it as the user who owns it, or see which daemon answers with: cleanroom doctor";
    case ErrorCode::kFailedPrecondition:
      if (about("set HOME")) return "Set HOME to an absolute path, and try again";
      if (about("not a regular file")) return "Name a file that holds it, and try again";
      if (about("is no terminal")) return "Run it from a terminal, or use: cleanroom exec -- CMD";
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
      if (about("the archive")) return "Make the archive again, or look into it with: tar tf FILE";
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
  // The place to look stands in the remedy, so not twice.
  std::string text = error.ToString();
  if (error.code() == ErrorCode::kInvalidArgument) text = text.substr(0, text.rfind(kSee));
  return fmt::format("cleanroom: {}\n{}\n", Printable(text, Newlines::kKeep),
                     Remedy(error, command));
}

Error UsageError(const std::string& message, const std::string& command) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("{}{}{} --help", message, kSee, command));
}

int Fail(const Error& error) { return Fail(Invocation(), error); }

int Fail(const Invocation& invocation, const Error& error) {
  const std::string text = Describe(error, invocation.name);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return 1;
}

}  // namespace cleanroom::cli
