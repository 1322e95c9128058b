// Checkouts: the repository in a sandbox, as far as the life of sandboxes needs it. Implemented by
// Repositories; an interface so that that life can be tested without git.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "base/result.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "git/remote_url.h"
#include "os/unique_fd.h"
#include "server/progress.h"
#include "store/records.h"

namespace cleanroom::server {

// Which commit of which repository is wanted, in the words of whoever asks.
struct CheckoutWish {
  std::string remote_url;
  std::string commit;    // a full id, or empty
  std::string revision;  // a branch, a tag, an abbreviated id, "latest"; or empty
  std::string branch;    // that HEAD is to be attached to; or empty
};

// What is in the sandbox before anything runs there.
struct CheckoutLayers {
  std::vector<os::UniqueFd> files;  // the topmost first, to be read from
  std::vector<std::string>
      warnings;  // for the client: pointers to large files that stay pointers, …
};

// Whom the work tree belongs to in the sandbox.
struct CheckoutOwner {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

// A client's local changes, checked, as what is to be done in the work tree.
struct ChangedFiles {
  std::vector<std::string> removed;  // paths relative to it, each a file or a link
  os::UniqueFd tar;                  // of what is to be written, at its beginning; nothing: nothing
};

class Checkouts {
 public:
  virtual ~Checkouts() = default;
  // What is named by a URL; invalid_argument for what is not fetched from here.
  virtual Result<git::RemoteUrl> Remote(const std::string& url) const = 0;
  // The commit that is meant, which the mirror of the repository has from then on. Of the answer
  // `path` and `submodules` are the caller's to fill in. upstream_error, not_found, unauthenticated
  // and their like say what the remote said; cancelled with the task.
  virtual Awaitable<Result<store::Checkout>> Resolve(CheckoutWish wish, ProgressFn progress) = 0;
  // The same for a commit that the remote does not have, and the bundle does; it is checked first, and
  // kept for as long as a sandbox has the commit. The wish's `commit` is the bundle's target.
  // invalid_argument, data_corrupt and resource_exhausted for a bundle that is not what it says;
  // failed_precondition when it builds on commits that the remote does not have.
  virtual Awaitable<Result<store::Checkout>> ResolveBundle(
      CheckoutWish wish, std::shared_ptr<const ::cleanroom::v1::RepositoryCommitBundle> bundle,
      ProgressFn progress) = 0;
  // A file of the commit as text; not_found when there is none.
  virtual Awaitable<Result<std::string>> ReadFile(store::Checkout checkout, std::string path) = 0;
  // Makes what is missing of the layers; wishes for the same ones share the work.
  virtual Awaitable<Result<CheckoutLayers>> Layers(store::Checkout checkout, CheckoutOwner owner,
                                                   ProgressFn progress) = 0;
  // invalid_argument for a change set that contradicts itself or does not apply to the commit.
  virtual Awaitable<Result<ChangedFiles>> Apply(
      store::Checkout checkout, std::shared_ptr<const ::cleanroom::v1::RepositoryChangeset> local,
      ProgressFn progress) = 0;
};

}  // namespace cleanroom::server
