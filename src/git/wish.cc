// MirrorStore::EnsureCommit: from a wish to a commit that is here.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "git/mirror_files.h"
#include "git/mirror_store.h"
#include "git/ref_name.h"
#include "os/file.h"

namespace cleanroom::git {
namespace {

std::unexpected<Error> NotThere(const RemoteUrl& url, std::string what, std::string remedy) {
  return Err(Error(ErrorCode::kNotFound, fmt::format("{} has no {}", url.origin(), what))
                 .Remedy(std::move(remedy)));
}

// Whoever has the whole id has the commit, as a rule.
std::unexpected<Error> NoCommit(const RemoteUrl& url, const std::string& id) {
  return NotThere(url, "commit " + id,
                  IsFullId(id) ? "Push it with: git push; or take it along, and what is not "
                                 "committed, with: --copy-in"
                               : "Check the id, or push the commit with: git push");
}

std::unexpected<Error> NoName(const RemoteUrl& url, std::string what) {
  return NotThere(url, std::move(what),
                  fmt::format("See what it has with: git ls-remote {}", url.origin()));
}

}  // namespace

class MirrorStore::Finder {
 public:
  Finder(const MirrorStore& store, const RemoteUrl& url, const Control& control)
      : store_(store),
        url_(url),
        control_(control),
        mirror_(*store.git_, store.MirrorPath(url.identity())),
        remote_(*store.git_, url, store.options_.limits) {}

  Result<Resolved> Run(Wish wish) {
    CR_TRY(Check(wish));
    CR_TRY_ASSIGN(out_.use, store_.Use(mirror_.path()));
    const int64_t began = NowNanoseconds();
    CR_TRY_ASSIGN(const bool here, IsHere(wish));
    if (!here) CR_TRY(Get(wish, began));
    out_.mirror = mirror_.path();
    out_.default_branch = mirror_.DefaultBranch();
    CR_TRY_ASSIGN(out_.object_format, mirror_.ObjectFormat(control_));
    if (out_.branch.empty()) out_.branch = wish.branch;
    MarkUsed(mirror_.path());
    return std::move(out_);
  }

 private:
  static Result<void> Check(Wish& wish) {
    if (wish.revision == "latest") wish.revision.clear();
    if (wish.commit.empty() && (IsFullId(wish.revision))) std::swap(wish.commit, wish.revision);
    if (!wish.branch.empty() && !IsBranchName(wish.branch)) return Bad("branch", wish.branch);
    if (!wish.commit.empty()) {
      if (!wish.revision.empty()) {
        return Err(ErrorCode::kInvalidArgument, "a commit and a revision were both given");
      }
      return IsFullId(wish.commit) || IsAbbreviatedId(wish.commit) ? Result<void>()
                                                                   : Bad("commit id", wish.commit);
    }
    const bool whole = wish.revision.starts_with("refs/");
    if (!wish.revision.empty() && !(whole ? IsRefName(wish.revision) : IsBranchName(wish.revision)))
      return Bad("revision", wish.revision);
    return {};
  }

  static Result<void> Bad(std::string_view what, const std::string& text) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("'{}' is no {}", text.substr(0, 200), what));
  }

  // Without the network: a full id that is here stays what it is.
  Result<bool> IsHere(const Wish& wish) {
    if (!IsFullId(wish.commit) || !mirror_.Exists()) return false;
    CR_TRY_ASSIGN(const std::optional<std::string> commit,
                  mirror_.FindCommit(wish.commit, control_));
    if (commit) out_.commit = *commit;
    return commit.has_value();
  }

  Result<void> Get(const Wish& wish, int64_t began) {
    CR_TRY_ASSIGN(const os::StoppableLock lock, store_.Lock(mirror_.path(), control_.stop));
    // Another's fetch, begun after this wish was made, is as good as one of its own.
    CR_TRY_ASSIGN(const bool here, IsHere(wish));
    if (here) return {};
    if (!mirror_.Exists()) {
      CR_TRY(Clone());
    } else if (ReadRecord(mirror_.path()).refreshed_at < began) {
      fresh_ = false;
    }
    return wish.commit.empty() ? ByName(wish) : ById(wish.commit);
  }

  Result<void> ById(const std::string& id) {
    CR_TRY_ASSIGN(std::optional<std::string> commit, Look(id));
    if (!commit && !fresh_) {
      CR_TRY(Refresh());
      CR_TRY_ASSIGN(commit, Look(id));
    }
    if (!commit && IsFullId(id)) {
      // On no branch or tag (any more): some servers give it out all the same.
      const Result<void> fetched =
          remote_.FetchCommit(mirror_, id, FolderBytes(mirror_.path()), control_);
      if (!fetched && fetched.error().code() != ErrorCode::kNotFound &&
          fetched.error().code() != ErrorCode::kUpstreamError)
        return fetched;
      out_.fetched = true;
      CR_TRY(Measure(/*refreshed_at=*/0));
      CR_TRY_ASSIGN(commit, Look(id));
    }
    if (!commit) return NoCommit(url_, id);
    out_.commit = *commit;
    return {};
  }

  Result<std::optional<std::string>> Look(const std::string& id) const {
    return IsFullId(id) ? mirror_.FindCommit(id, control_) : mirror_.FindAbbreviated(id, control_);
  }

  // The whole names that a wish may mean.
  static std::vector<std::string> Names(const Wish& wish) {
    if (wish.revision.starts_with("refs/")) return {wish.revision};
    if (!wish.revision.empty())
      return {"refs/heads/" + wish.revision, "refs/tags/" + wish.revision};
    if (!wish.branch.empty()) return {"refs/heads/" + wish.branch};
    return {};
  }

  Result<void> ByName(const Wish& wish) {
    const std::vector<std::string> names = Names(wish);
    if (!fresh_) {
      CR_TRY_ASSIGN(const RemoteRefs remote, remote_.List(names, control_));
      CR_TRY(Follow(names, remote));
    }
    if (names.empty()) return Newest();
    std::optional<std::string> commit;
    for (const std::string& name : names) {
      CR_TRY_ASSIGN(const std::optional<std::string> found, mirror_.FindRef(name, control_));
      if (!found) continue;
      if (commit && *commit != *found) {
        return Err(
            Error(ErrorCode::kInvalidArgument,
                  fmt::format("{} has both a branch and a tag '{}'", url_.origin(), wish.revision))
                .Remedy(fmt::format("Name one of them: refs/heads/{} or refs/tags/{}",
                                    wish.revision, wish.revision)));
      }
      commit = found;
      if (out_.branch.empty() && name.starts_with("refs/heads/")) out_.branch = name.substr(11);
    }
    if (!wish.branch.empty()) out_.branch = wish.branch;
    if (!commit && IsAbbreviatedId(wish.revision)) return ById(wish.revision);
    if (!commit) {
      return NoName(url_, wish.revision.empty()
                              ? fmt::format("branch {}", wish.branch)
                              : fmt::format("branch, tag or commit {}", wish.revision));
    }
    out_.commit = *commit;
    return {};
  }

  Result<void> Newest() {
    out_.branch = mirror_.DefaultBranch();
    const std::string name = out_.branch.empty() ? "" : "refs/heads/" + out_.branch;
    std::optional<std::string> commit;
    if (!name.empty()) {
      CR_TRY_ASSIGN(commit, mirror_.FindRef(name, control_));
    } else if (!head_.empty()) {
      CR_TRY_ASSIGN(commit, mirror_.FindCommit(head_, control_));
    } else {
      // A clone of a remote whose HEAD is on no branch has the commit in its own.
      const Result<std::string> head = os::ReadFile(mirror_.path() / "HEAD", 4096);
      const std::string id = head ? head->substr(0, head->find('\n')) : std::string();
      if (IsFullId(id)) {
        CR_TRY_ASSIGN(commit, mirror_.FindCommit(id, control_));
      }
    }
    if (!commit) {
      return NotThere(url_, "commits on its default branch", "Push one, or name another branch");
    }
    out_.commit = *commit;
    return {};
  }

  // Fetches when the mirror is not where the remote is.
  Result<void> Follow(const std::vector<std::string>& names, const RemoteRefs& remote) {
    head_ = remote.head;
    CR_TRY(SetDefaultBranch(remote));
    std::vector<Ref> expected = remote.refs;
    if (names.empty() && !remote.default_branch.empty())
      expected.push_back({"refs/heads/" + remote.default_branch, remote.head, {}});
    bool same = true;
    for (const Ref& ref : expected) {
      CR_TRY_ASSIGN(const std::optional<std::string> here, mirror_.FindRef(ref.name, control_));
      same = same && here && (*here == ref.id || *here == ref.peeled);
    }
    for (const std::string& name : names) {
      const bool there = std::ranges::find(remote.refs, name, &Ref::name) != remote.refs.end();
      CR_TRY_ASSIGN(const std::optional<std::string> here, mirror_.FindRef(name, control_));
      same = same && (there || !here);
    }
    return same ? Result<void>() : FetchAll();
  }

  Result<void> SetDefaultBranch(const RemoteRefs& remote) const {
    if (remote.default_branch.empty() || remote.default_branch == mirror_.DefaultBranch())
      return {};
    CR_TRY(
        store_.git_->Local({.args = {"symbolic-ref", "HEAD", "refs/heads/" + remote.default_branch},
                            .git_dir = mirror_.path()},
                           control_));
    return {};
  }

  Result<void> Refresh() {
    CR_TRY_ASSIGN(const RemoteRefs remote, remote_.List({}, control_));
    head_ = remote.head;
    CR_TRY(SetDefaultBranch(remote));
    return FetchAll();
  }

  Result<void> FetchAll() {
    const int64_t now = NowNanoseconds();
    out_.fetched = true;
    CR_TRY(remote_.FetchAll(mirror_, FolderBytes(mirror_.path()), control_));
    fresh_ = true;
    return Measure(now);
  }

  Result<void> Clone() {
    const int64_t now = NowNanoseconds();
    out_.fetched = true;
    CR_TRY_ASSIGN(const os::TempFolder temp, os::TempFolder::Create(store_.folder() / "tmp"));
    CR_TRY(remote_.Clone(temp.path() / "m.git", control_));
    std::error_code error;
    // Only the rest of a mirror (no HEAD) can be in the way: the lock is held.
    if (std::filesystem::exists(mirror_.path(), error))
      std::filesystem::rename(mirror_.path(), temp.path() / "damaged", error);
    if (!error) std::filesystem::rename(temp.path() / "m.git", mirror_.path(), error);
    if (error) {
      return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                  fmt::format("store a mirror in {}", mirror_.path().string())));
    }
    fresh_ = true;
    return Measure(now);
  }

  Result<void> Measure(int64_t refreshed_at) const {
    MirrorRecord record = ReadRecord(mirror_.path());
    record.url = url_.identity();
    if (refreshed_at != 0) record.refreshed_at = refreshed_at;
    record.used_at = NowNanoseconds() / 1'000'000'000;
    record.bytes = FolderBytes(mirror_.path());
    return WriteRecord(mirror_.path(), record);
  }

  const MirrorStore& store_;
  const RemoteUrl& url_;
  const Control& control_;
  Mirror mirror_;
  Remote remote_;
  Resolved out_;
  bool fresh_ = true;  // the mirror's branches are as the remote had them since the wish was made
  std::string head_;   // of the remote, as far as it was asked
};

Result<Resolved> MirrorStore::EnsureCommit(const RemoteUrl& url, const Wish& wish,
                                           const Control& control) const {
  return Finder(*this, url, control).Run(wish);
}

}  // namespace cleanroom::git
