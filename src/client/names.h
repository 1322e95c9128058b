// The short spellings of the API's enums ("READY"), and what kind of thing went wrong.
#pragma once

#include <string_view>

#include "base/error.h"
#include "cleanroom/v1/execution.pb.h"
#include "cleanroom/v1/sandbox.pb.h"

namespace cleanroom::client {

using SandboxStatus = v1::SandboxStatus;
using ExecutionStatus = v1::ExecutionStatus;
using ExecutionKind = v1::ExecutionKind;

// "READY", "TIMED_OUT", "BATCH"; "UNKNOWN" for a number that this build does not know.
std::string_view ShortName(SandboxStatus status);
std::string_view ShortName(ExecutionStatus status);
std::string_view ShortName(ExecutionKind kind);

// STOPPED or FAILED; SUCCEEDED, FAILED, CANCELED or TIMED_OUT. Such a state never changes again.
bool HasEnded(SandboxStatus status);
bool HasEnded(ExecutionStatus status);

// What a caller can do about an error.
enum class ErrorClass {
  kRequest,    // the request itself is wrong, or refused for good: change it
  kPolicy,     // the policy is wrong, or forbids it: change the policy
  kState,      // the thing is missing or not in a state for this: look, then decide
  kCapability, // this host or backend cannot do it: use another
  kAccess,     // the caller may not
  kRetryable,  // may pass by itself: try again later
  kCanceled,   // the caller gave up, or its deadline passed
  kInternal,   // a defect, or damaged data
};

ErrorClass Classify(ErrorCode code);

}  // namespace cleanroom::client
