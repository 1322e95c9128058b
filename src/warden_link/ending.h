// How a warden says why something ended, and how that is read: as an error's code and message, in
// fields of their own.
#pragma once

#include <optional>

#include "base/error.h"
#include "cleanroom/internal/v1/warden.pb.h"

namespace cleanroom::warden_link {

namespace pb = ::cleanroom::internal::v1;

void SetWhy(const Error& why, pb::WardenState& state);
// The end of a command that was lost: no exit code of its own is known.
pb::ExecutionEnd LostCommand(const Error& why);

// Why the sandbox FAILED; nothing when the state does not say. Also as wardens of earlier releases
// said it, which outlive their daemon.
std::optional<Error> WhyEnded(const pb::WardenState& state);
// Why the command was LOST; nothing for other ends, whose message stands for itself.
std::optional<Error> WhyLost(const pb::ExecutionEnd& end);

}  // namespace cleanroom::warden_link
