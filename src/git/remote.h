// What is asked of a remote: its refs, and objects for a mirror. Each is tried again once when the
// connection was cut; errors say what to do (transfer_error.h).
//
// A redirect is followed on the same host and port alone. Another host is not the one that the policy
// allows, and git would show it the credentials that its user has for it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror.h"
#include "git/remote_url.h"
#include "git/run.h"

namespace cleanroom::git {

struct RemoteLimits {
  uint64_t max_mirror_bytes = 20ull << 30;
  std::chrono::seconds list_timeout{120};
  std::chrono::seconds fetch_timeout{3600};
};

// What a remote said of some of its refs.
struct RemoteRefs {
  std::string default_branch;  // empty when its HEAD is no branch, or it has no commits
  std::string head;            // the commit of HEAD; empty when it has none
  std::vector<Ref> refs;
};

class Remote {
 public:
  // All outlive this.
  Remote(const Git& git, const RemoteUrl& url, const RemoteLimits& limits)
      : git_(git), url_(url), limits_(limits) {}

  // HEAD, and those of `names` (whole names) that it has.
  Result<RemoteRefs> List(const std::vector<std::string>& names, const Control& control) const;
  // Makes a bare mirror of its branches and tags in `folder`, which must not exist.
  Result<void> Clone(const std::filesystem::path& folder, const Control& control) const;
  // Brings the mirror's branches and tags to where the remote has them.
  Result<void> FetchAll(const Mirror& mirror, uint64_t bytes_now, const Control& control) const;
  // One commit by its full id, kept as refs/cleanroom/<id>. not_found when it is not there.
  Result<void> FetchCommit(const Mirror& mirror, const std::string& id, uint64_t bytes_now,
                           const Control& control) const;

 private:
  Result<std::string> Ask(Command command, const Control& control) const;
  // Where the remote's redirect from `url` leads.
  Result<std::string> Follow(const std::string& url, const Control& control) const;
  uint64_t Room(uint64_t bytes_now) const;

  const Git& git_;
  const RemoteUrl& url_;
  const RemoteLimits& limits_;
};

}  // namespace cleanroom::git
