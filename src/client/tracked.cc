#include "client/tracked.h"

#include <nlohmann/json.hpp>

#include "base/id.h"
#include "config/paths.h"
#include "document/bounded_json.h"

namespace cleanroom::client {
namespace {

constexpr size_t kMaxFileBytes = 4U << 20;
// Whoever holds it may be making a sandbox, and pulling its image.
constexpr std::chrono::minutes kLockLimit{60};

}  // namespace

Result<TrackedSandboxes> TrackedSandboxes::Open(const std::string& folder) {
  CR_TRY(os::MakeDirs(folder));
  CR_TRY_ASSIGN(auto lock, os::FileLock::Acquire(folder + "/sandboxes.lock", kLockLimit));
  TrackedSandboxes tracked(folder + "/sandboxes.json", std::move(lock));
  const auto text = os::ReadFile(tracked.path_, kMaxFileBytes);
  if (!text) {
    if (text.error().code() == ErrorCode::kNotFound) return tracked;
    return Err(text.error());
  }
  const auto json = document::ParseBoundedJson(*text);
  if (!json.is_object())
    return Err(ErrorCode::kDataCorrupt, tracked.path_ + " is no JSON object; remove it");
  for (const auto& [key, id] : json.items()) {
    if (id.is_string() && IsId(id.get<std::string>())) tracked.ids_[key] = id.get<std::string>();
  }
  return tracked;
}

std::string TrackedSandboxes::Find(std::string_view key) const {
  const auto found = ids_.find(key);
  return found == ids_.end() ? std::string() : found->second;
}

Result<void> TrackedSandboxes::Set(std::string_view key, const std::string& sandbox_id) {
  ids_[std::string(key)] = sandbox_id;
  const nlohmann::json json(ids_);
  return os::WriteFileAtomic(
      path_, json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

Result<std::string> TrackedSandboxesFolder() {
  CR_TRY_ASSIGN(const auto paths, config::ResolvePaths(config::Environment::OfProcess()));
  return paths.state_dir + "/client";
}

}  // namespace cleanroom::client
