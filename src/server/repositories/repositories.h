// Repositories: checkouts from this host's mirrors and layers.
//
// What was found is remembered, in memory: a commit that a sandbox had before is resolved, and its
// layers are found, without starting a process. What is remembered is only where to look; a layer or
// a mirror that has gone meanwhile is made again.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/async.h"
#include "git/mirror_store.h"
#include "layers/layer_store.h"
#include "repository/bundle_store.h"
#include "repository/checkout.h"
#include "server/launch/checkouts.h"
#include "server/repositories/recent.h"

namespace cleanroom::server {

struct RepositoriesConfig {
  std::filesystem::path state_dir;      // mirrors, bundles
  std::filesystem::path cache_dir;      // layers
  std::vector<std::string> http_hosts;  // patterns: these may be fetched from by plain http
  git::GitConfig git;
};

class Repositories : public Checkouts {
 public:
  // Makes the folders.
  static Result<std::unique_ptr<Repositories>> Open(RepositoriesConfig config);

  Result<git::RemoteUrl> Remote(const std::string& url) const override;
  Awaitable<Result<store::Checkout>> Resolve(CheckoutWish wish, ProgressFn progress) override;
  Awaitable<Result<store::Checkout>> ResolveBundle(
      CheckoutWish wish, std::shared_ptr<const v1::RepositoryCommitBundle> bundle,
      ProgressFn progress) override;
  Awaitable<Result<std::string>> ReadFile(store::Checkout checkout, std::string path) override;
  Awaitable<Result<CheckoutLayers>> Layers(store::Checkout checkout, CheckoutOwner owner,
                                           ProgressFn progress) override;

  Awaitable<Result<ChangedFiles>> Apply(store::Checkout checkout,
                                        std::shared_ptr<const v1::RepositoryChangeset> local,
                                        ProgressFn progress) override;

  const git::MirrorStore& mirrors() const { return mirrors_; }
  const layers::LayerStore& layers() const { return layers_; }
  const repository::BundleStore& bundles() const { return bundles_; }

 private:
  Repositories(RepositoriesConfig config, git::MirrorStore mirrors, layers::LayerStore layers,
               repository::BundleStore bundles);

  struct Known {
    std::vector<layers::LayerId> layers;
    std::vector<std::string> warnings;
  };
  // Nothing when one of them has gone.
  std::optional<Result<CheckoutLayers>> OpenKnown(const Known& known) const;

  RepositoriesConfig config_;
  git::MirrorStore mirrors_;
  layers::LayerStore layers_;
  repository::BundleStore bundles_;
  // Threads of their own: a fetch takes minutes, and disks and folders must not wait for it.
  BlockingPool pool_{4};
  Recent<bool> commits_;       // that mirrors have
  Recent<std::string> files_;  // of commits
  Recent<Known> checkouts_;
};

}  // namespace cleanroom::server
