// The folder of a sandbox: what its warden left in it, and its removal.
#pragma once

#include <optional>
#include <string>

#include "base/async.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "server/layout.h"

namespace cleanroom::server {

// Kept of a guest's console and of a warden's last words.
inline constexpr size_t kConsoleBytes = 8U << 10;
inline constexpr size_t kLastWordsBytes = 1U << 10;

// The final state that the warden wrote for when nobody listened; nothing when it did not come to
// that.
std::optional<internal::v1::WardenState> ReadWardenEnd(const Layout& layout, const std::string& id);

// Removes the folder and all that is in it. Whoever worked in it has ended. An error is logged and
// returned: the next start of the control plane tries again.
Awaitable<Result<void>> RemoveSandboxFolder(BlockingPool& pool, const Layout& layout,
                                            std::string id);

}  // namespace cleanroom::server
