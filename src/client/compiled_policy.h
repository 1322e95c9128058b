// A compiled policy file as a request's policy. Not part of the installed library.
#pragma once

#include "cleanroom/v1/policy.pb.h"
#include "policy/compiled.h"

namespace cleanroom::client {

// The form that travels: canonical_json carries everything; the other fields repeat what clients of
// the original API know (allow rules by IP block or UDP have no place there).
v1::Policy ToProto(const policy::CompiledPolicy& compiled);

}  // namespace cleanroom::client
