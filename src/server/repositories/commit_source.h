// Where a checkout's commit is read from: the mirror of its remote, or a user's bundle over that.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "git/mirror_store.h"
#include "repository/bundle.h"
#include "repository/bundle_store.h"
#include "store/records.h"

namespace cleanroom::server {

// Keeps both while it lives.
struct CommitSource {
  git::Resolved resolved;
  std::optional<repository::VerifiedBundle> bundle;

  // That has the commit.
  git::Mirror Repository(const git::Git& git) const {
    return bundle ? bundle->repository.repository() : git::Mirror(git, resolved.mirror);
  }
};

// The bundle as it came, and the mirror that has what it builds on; fetched as far as that needs.
// failed_precondition when the remote does not have it; else the errors of VerifyBundle.
Result<CommitSource> OpenBundle(const git::MirrorStore& mirrors, const git::RemoteUrl& remote,
                                const repository::Bundle& bundle, const std::string& branch,
                                const git::Control& control);

// The commit of a checkout that was resolved before.
Result<CommitSource> OpenCommit(const git::MirrorStore& mirrors,
                                const repository::BundleStore& bundles,
                                const git::RemoteUrl& remote, const store::Checkout& checkout,
                                const git::Control& control);

}  // namespace cleanroom::server
