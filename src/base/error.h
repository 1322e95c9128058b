// Error: what went wrong, under a code that never changes once released.
//
// The code is part of the public surface: it appears in RPC error details, on stderr and in
// records, and clients branch on it. The message is for people: it names the thing and the place.
// Frames of context are added on the way up, outermost first.
//
// Whoever knows the cause also says what the error is about (the subject) and, where there is
// something particular to do, what that is (the remedy). Both travel with the error, so nobody has
// to look for them in the message; a message is never parsed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cleanroom {

enum class ErrorCode {
  kPolicyInvalid,
  kPolicyConflict,
  kBackendUnavailable,
  kBackendCapabilityMismatch,
  kFailedPrecondition,
  kHostNotAllowed,
  kRegistryNotAllowed,
  kLockfileViolation,
  kSecretScopeViolation,
  kRuntimeLaunchFailed,
  kNotFound,
  kAlreadyExists,
  kInvalidArgument,
  kResourceExhausted,
  kPermissionDenied,
  kUnauthenticated,
  kUpstreamError,  // a registry or other outside server failed or answered nonsense
  kDataCorrupt,    // bytes do not match their digest or their format
  kUnavailable,    // the peer is gone or not there yet; trying again may help
  kDeadlineExceeded,
  kCanceled,
  kUnimplemented,
  kInternal,
};

// The stable spelling, e.g. "policy_invalid".
std::string_view ToString(ErrorCode code);

// The inverse; unknown spellings (from a newer peer) become kInternal.
ErrorCode ErrorCodeFromString(std::string_view name);
// The same, with nothing for an unknown spelling.
std::optional<ErrorCode> ParseErrorCode(std::string_view name);

// Classes of codes, for those who decide by them.
//
//   code                                  retryable  machine trouble  tells what to do
//   unavailable                           yes        yes              no
//   deadline_exceeded                     yes        yes              no
//   runtime_launch_failed                 no         yes              yes
//   data_corrupt, permission_denied,
//   not_found                             no         yes              yes
//   failed_precondition, internal         no         yes              no
//   backend_unavailable,
//   backend_capability_mismatch,
//   resource_exhausted, upstream_error,
//   unauthenticated, invalid_argument,
//   host_not_allowed                      no         no               yes
//   all others                            no         no               no

// The same request, unchanged, may succeed at once or a little later: the peer did not answer.
bool IsRetryable(ErrorCode code);
// Of an attempt to start a machine: another way to start it is worth trying.
bool IsMachineTrouble(ErrorCode code);
// Of a launch: the code itself says what a user can change, so it stays. Others only mean that the
// machine did not start.
bool TellsWhatToDo(ErrorCode code);

// What an error is about, where somebody can look at it or change it. The names go over the wire
// ("image"); a new kind reads as kNone to older peers.
enum class SubjectKind : uint8_t {
  kNone,
  kDaemon,       // by its URL
  kCertificate,  // of a server, by its URL
  kSandbox,      // by its id, empty when the caller knows it, as below
  kExecution,    // by its id
  kImage,        // by its reference or digest
  kRegistry,     // by its host
  kArchive,      // that an image is made from
  kPolicy,       // a policy file, by its path
  kConfig,       // a file of the runtime configuration, by its path
  kFile,         // by its path
  kRepository,   // by its URL, without credentials
};
std::string_view ToString(SubjectKind kind);  // "" for kNone
SubjectKind SubjectKindFromString(std::string_view name);

struct Subject {
  SubjectKind kind = SubjectKind::kNone;
  std::string name;
  bool operator==(const Subject&) const = default;
};

class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // An error of a system call: the message ends with strerror(errno_value).
  static Error FromErrno(ErrorCode code, int errno_value, std::string_view what);

  ErrorCode code() const { return code_; }
  int errno_value() const { return errno_value_; }
  // Context frames and message joined with ": ", without the code.
  const std::string& message() const { return message_; }
  // "code: message", as users see it.
  std::string ToString() const;

  const Subject& subject() const { return subject_; }
  // What to run or change, one sentence without a trailing dot; empty when the code and the subject
  // say all there is.
  const std::string& remedy() const { return remedy_; }

  // Returns the error with `frame` put before the message.
  Error Context(std::string_view frame) &&;
  // Returns the error under another code: what it means to those further up. The errno stays where
  // it arose.
  Error As(ErrorCode code) &&;
  // Return the error with its subject, or its remedy, where it has none yet: what was said nearest
  // to the cause stays.
  Error About(SubjectKind kind, std::string name = "") &&;
  Error Remedy(std::string remedy) &&;

 private:
  ErrorCode code_;
  std::string message_;
  int errno_value_ = 0;
  Subject subject_;
  std::string remedy_;
};

}  // namespace cleanroom
