// Ids of sandboxes, executions and snapshots: UUIDv7 (RFC 9562) in 26 lower-case Crockford base32
// characters, so that they sort by time of creation, e.g. "01kr7p9ksmfa7rmyypyqw2w8r0".
#pragma once

#include <fmt/core.h>

#include <chrono>
#include <compare>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace cleanroom {

// A new id for the time `now`; the random part comes from getrandom(2).
std::string NewId(std::chrono::system_clock::time_point now = std::chrono::system_clock::now());

// Whether `text` has the form of an id. Ids from users pass this before they become part of a path.
bool IsId(std::string_view text);

// invalid_argument unless IsId; `what` names the thing ("sandbox id").
Result<void> CheckId(std::string_view text, std::string_view what);

// The id of one kind of thing, so that a sandbox's is not taken for an execution's. Empty: none. The
// text is as whoever gave it wrote it: what comes from users passes CheckId before it becomes part
// of a path.
template <typename Kind>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}
  static Id New(std::chrono::system_clock::time_point now) { return Id(NewId(now)); }

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }

  auto operator<=>(const Id&) const = default;
  bool operator==(const Id&) const = default;
  friend bool operator==(const Id& id, std::string_view text) { return id.text_ == text; }

 private:
  std::string text_;
};

template <typename Kind>
Result<void> CheckId(const Id<Kind>& id, std::string_view what) {
  return CheckId(std::string_view(id.text()), what);
}

using SandboxId = Id<struct OfSandbox>;
using ExecutionId = Id<struct OfExecution>;

}  // namespace cleanroom

template <typename Kind>
struct fmt::formatter<cleanroom::Id<Kind>> : fmt::formatter<std::string_view> {
  auto format(const cleanroom::Id<Kind>& id, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(id.text(), context);
  }
};
