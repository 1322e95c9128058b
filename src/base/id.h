// Ids of sandboxes, executions and snapshots: UUIDv7 (RFC 9562) in 26 lower-case Crockford base32
// characters, so that they sort by time of creation, e.g. "01kr7p9ksmfa7rmyypyqw2w8r0".
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom {

// A new id for the time `now`; the random part comes from getrandom(2).
std::string NewId(std::chrono::system_clock::time_point now = std::chrono::system_clock::now());

// Whether `text` has the form of an id. Ids from users pass this before they become part of a path.
bool IsId(std::string_view text);

// invalid_argument unless IsId; `what` names the thing ("sandbox id").
Result<void> CheckId(std::string_view text, std::string_view what);

}  // namespace cleanroom
