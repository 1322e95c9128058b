// What a sandbox leaves on the host beside its record: its folder, with its warden's last words,
// and its control groups.
#pragma once

#include <optional>
#include <string>

#include "base/async.h"
#include "base/result.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "server/layout.h"
#include "server/settings.h"

namespace cleanroom::server {

// Kept of a guest's console, of a warden's last words, and of those about a command.
inline constexpr size_t kConsoleBytes = 8U << 10;
inline constexpr size_t kLastWordsBytes = 1U << 10;
inline constexpr size_t kCommandWordsBytes = 4U << 10;

// A file that its warden has written in its folder, of at most 1 MiB. A warden that has been taken
// over may have put a link there, or a pipe: those are not read.
Result<std::string> ReadRemains(const Layout& layout, const SandboxId& id, const std::string& name);

// The final state that the warden wrote for when nobody listened; nothing when it did not come to
// that.
std::optional<internal::v1::WardenState> ReadWardenEnd(const Layout& layout, const SandboxId& id);

// Why the sandbox failed, as its warden says in such a state: made plain, for a warden that has been
// taken over may say anything, and short. Nothing when it does not say.
std::optional<Error> WhyEnded(const internal::v1::WardenState& state);
// The same of a command that was lost.
std::optional<Error> WhyLost(const internal::v1::ExecutionEnd& end);

// Removes all of it, killing what still runs in the groups. An error is logged and returned: the
// next start of the control plane tries again.
Awaitable<Result<void>> RemoveRemains(BlockingPool& pool, const Settings& settings,
                                      const Layout& layout, SandboxId id);

}  // namespace cleanroom::server
