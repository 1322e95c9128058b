// Where the policy of a new sandbox comes from: a policy file, --image, or the config's default
// image.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/async.h"
#include "cleanroom/v1/policy.pb.h"
#include "cli/commands/run_flags.h"
#include "client/api.h"
#include "policy/compiled.h"
#include "policy/load.h"

namespace cleanroom::cli {

// What was found on this host, before any tag is resolved.
struct PolicySource {
  // The file's policy; nothing when there is no file, and then `image` is set.
  std::optional<policy::CompiledPolicy> compiled;
  std::string path;     // of the file
  std::string warning;  // about the file
  // Takes the place of the file's image. May carry a tag instead of a digest.
  std::optional<ImageRef> image;
  std::string image_text;  // as typed: the daemon may know a short name by an import
  // What is allowed when no rule says anything; no file can say kAllow, only the flag.
  policy::NetworkDefault network_default = policy::NetworkDefault::kDeny;
  // Of a policy without a file: where the repository may be fetched from. Empty host: nowhere.
  struct {
    std::string host{};
    uint16_t port = 0;
  } fetched_from{};
  // The daemon takes the policy of the commit that is checked out; nothing above counts but
  // network_default.
  bool of_commit = false;
};

// What --dangerously-allow-all makes of it.
policy::NetworkDefault NetworkDefaultOf(const RunFlags& flags);
// --image takes the place of the source's image.
Result<void> TakeImage(const RunFlags& flags, PolicySource& source);

// The directory of the repository that holds `directory`: the nearest one upwards with a .git;
// nothing outside one.
std::optional<std::string> FindRepository(const std::string& directory);

// cleanroom.yaml, then .buildkite/cleanroom.yaml, in `directory`, then in its repository's top.
// not_found naming the places.
Result<policy::PolicyFile> FindPolicyFile(const std::string& directory);

// default_image of the runtime config; empty when there is none.
using DefaultImageSource = Result<std::string>();

// For repo-aware commands: -c, else FindPolicyFile in the current directory, else --image, else
// `default_image`, which is asked only then.
Result<PolicySource> LocatePolicy(const RunFlags& flags, DefaultImageSource* default_image);
// For `sandbox create`: --image, else `default_image`.
Result<PolicySource> PolicyOfImage(const RunFlags& flags, DefaultImageSource* default_image);

// Resolves a tag through the daemon and gives the policy as it travels.
Awaitable<Result<v1::Policy>> FinishPolicy(client::Api& api, PolicySource source);

}  // namespace cleanroom::cli
