// The mirrors this host has: `mirrors/<sha256 of the remote's identity>.git` in the state folder, with
// a record `<sha256>.json` beside each. A mirror is fetched exactly as far as somebody needs it.
//
// Any number of threads and processes may use one folder. Who wishes for what is here waits for
// nobody. All others take the mirror's lock in turn and look again when they have it, so any number
// of wishes for one remote is one fetch. A mirror that somebody uses (MirrorUse) is neither removed
// nor cleaned.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror.h"
#include "git/mirror_record.h"
#include "git/remote.h"
#include "os/scratch.h"

namespace cleanroom::git {

// What somebody wants of a repository. All empty: the newest commit of the remote's default branch.
struct Wish {
  // A full id, or the beginning of one (which is looked for here alone, after a fetch).
  std::string commit{};
  // A tag, a branch, "refs/…", an id, or "latest", which is the same as nothing.
  std::string revision{};
  // The branch that a checkout is to be on. Without commit and revision: its newest commit.
  std::string branch{};
};

// Keeps a mirror from being removed or cleaned while it lives.
class MirrorUse {
 public:
  explicit MirrorUse(os::UniqueFd lock) : lock_(std::move(lock)) {}

 private:
  os::UniqueFd lock_;
};

struct Resolved {
  std::filesystem::path mirror;
  std::string commit;          // full id
  std::string branch;          // short name; empty: the checkout is on no branch
  std::string default_branch;  // empty when the remote has none
  std::string object_format;   // "sha1" or "sha256"
  bool fetched = false;        // something was transferred for it
  std::shared_ptr<const MirrorUse> use;
};

class MirrorStore {
 public:
  struct Options {
    std::filesystem::path state_folder{};
    GitConfig git{};
    RemoteLimits limits{};
  };
  // Makes the folders; removes what killed processes left.
  static Result<MirrorStore> Open(Options options);

  const Git& git() const { return *git_; }
  // By the store's rules on URLs.
  Result<RemoteUrl> ParseUrl(std::string_view text) const;

  // not_found when the remote has no such commit, branch or tag; invalid_argument for malformed
  // wishes; else transfer_error.h.
  Result<Resolved> EnsureCommit(const RemoteUrl& url, const Wish& wish,
                                const Control& control) const;

  // Holds the lock under which a mirror changes: for who needs its packs to stay as they are.
  Result<os::StoppableLock> Lock(const std::filesystem::path& mirror,
                                 const std::stop_token& stop) const;

  // By which others name a remote's mirror: its folder's name without ".git".
  static std::string KeyOf(const std::string& identity);
  // Sorted by URL.
  std::vector<MirrorRecord> List() const;
  // failed_precondition, at once, when it is in use; not_found.
  Result<MirrorRecord> Remove(const std::string& identity, const std::stop_token& stop) const;
  // Puts the mirror's packs into one when it has many. Answers whether it did; no error when the
  // mirror is in use.
  Result<bool> Clean(const std::string& identity, const Control& control) const;

 private:
  MirrorStore(Options options, std::shared_ptr<const Git> git)
      : options_(std::move(options)), git_(std::move(git)) {}
  class Finder;  // mirror_store.cc

  std::filesystem::path folder() const { return options_.state_folder / "mirrors"; }
  std::filesystem::path MirrorPath(const std::string& identity) const;
  Result<std::shared_ptr<const MirrorUse>> Use(const std::filesystem::path& mirror) const;
  // Nothing when somebody uses it.
  Result<std::optional<MirrorUse>> UseAlone(const std::filesystem::path& mirror) const;

  Options options_;
  std::shared_ptr<const Git> git_;
};

}  // namespace cleanroom::git
