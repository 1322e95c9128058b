#include "server/repositories/repositories.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "git/ref_name.h"
#include "net/host_name.h"
#include "os/file.h"
#include "os/scratch.h"
#include "repository/change_set.h"
#include "server/repositories/commit_source.h"
#include "server/repositories/pool_task.h"

namespace cleanroom::server {
namespace {

constexpr size_t kCommits = 4096;
constexpr size_t kCheckouts = 1024;
constexpr size_t kFiles = 64;
constexpr size_t kCopyBytes = 256 << 10;
constexpr size_t kMaxFileBytes = 1 << 20;  // as a policy file may have

git::Control GitControl(const PoolControl& control) {
  return {.stop = control.stop, .progress = [control](std::string_view line) {
            control.progress({.phase = "repository", .message = std::string(line)});
          }};
}

repository::CheckoutControl ControlOf(const PoolControl& control) {
  return {
      .git = GitControl(control), .progress = [control](const repository::Progress& progress) {
        const bool objects = progress.phase == repository::Phase::kObjects;
        control.progress({.phase = "checkout",
                          .message = objects ? "history" : fmt::format("{} files", progress.files),
                          .done = static_cast<int64_t>(progress.bytes)});
      }};
}

std::vector<std::string> WarningsOf(const repository::CheckedOut& made) {
  if (made.lfs_pointers == 0) return {};
  return {
      fmt::format("{} file{} of git-lfs in the checkout {} pointers: their contents are not "
                  "fetched",
                  made.lfs_pointers, made.lfs_pointers == 1 ? "" : "s",
                  made.lfs_pointers == 1 ? "is a pointer, as" : "are")};
}

repository::ChangeSet ChangeSetOf(const v1::RepositoryChangeset& message) {
  repository::ChangeSet out{.format = message.format(),
                            .base_commit = message.base_commit_sha(),
                            .digest = message.digest(),
                            .tree = message.tree_digest(),
                            .patch = message.patch(),
                            .files = {}};
  for (const v1::RepositoryChangesetFile& file : message.files()) {
    out.files.push_back({.path = file.path(), .deleted = file.deleted()});
  }
  return out;
}

Result<void> CopyAll(archive::ByteSource& from, int to) {
  std::vector<uint8_t> buffer(kCopyBytes);
  for (uint64_t offset = 0;;) {
    CR_TRY_ASSIGN(const size_t n, from.Read(buffer));
    if (n == 0) return {};
    CR_TRY(os::PwriteAll(to, std::span(buffer).first(n), offset));
    offset += n;
  }
}

}  // namespace

Result<std::unique_ptr<Repositories>> Repositories::Open(RepositoriesConfig config) {
  // Which hosts is looked at for each URL.
  if (!config.http_hosts.empty()) config.git.rules.http = git::PlainHttp::kAllowed;
  CR_TRY_ASSIGN(
      auto mirrors,
      git::MirrorStore::Open({.state_folder = config.state_dir, .git = config.git, .limits = {}}));
  CR_TRY_ASSIGN(auto layers, layers::LayerStore::Open(config.cache_dir));
  CR_TRY_ASSIGN(auto bundles, repository::BundleStore::Open(config.state_dir / "bundles"));
  return std::unique_ptr<Repositories>(new Repositories(std::move(config), std::move(mirrors),
                                                        std::move(layers), std::move(bundles)));
}

Repositories::Repositories(RepositoriesConfig config, git::MirrorStore mirrors,
                           layers::LayerStore layers, repository::BundleStore bundles)
    : config_(std::move(config)),
      mirrors_(std::move(mirrors)),
      layers_(std::move(layers)),
      bundles_(std::move(bundles)),
      commits_(kCommits),
      files_(kFiles),
      checkouts_(kCheckouts) {}

Result<git::RemoteUrl> Repositories::Remote(const std::string& url) const {
  CR_TRY_ASSIGN(git::RemoteUrl remote, mirrors_.ParseUrl(url));
  if (remote.scheme() != git::Scheme::kHttp) return remote;
  for (const std::string& text : config_.http_hosts) {
    const auto pattern = net::HostPattern::Parse(text);
    if (pattern && pattern->Matches(remote.host())) return remote;
  }
  return Err(
      Error(ErrorCode::kInvalidArgument,
            fmt::format("repositories of {} are not fetched by plain http, which anybody on "
                        "the way can change",
                        remote.host()))
          .About(SubjectKind::kRepository, remote.origin())
          .Remedy("Use https, or have the operator list the host in gateway.git.http_hosts"));
}

Awaitable<Result<store::Checkout>> Repositories::Resolve(CheckoutWish wish, ProgressFn progress) {
  CR_CO_TRY_ASSIGN(const git::RemoteUrl remote, Remote(wish.remote_url));
  // A full id is a commit's, by whichever name it comes.
  if (wish.commit.empty() && git::IsFullId(wish.revision)) std::swap(wish.commit, wish.revision);
  store::Checkout checkout{.remote_url = remote.origin(),
                           .commit = wish.commit,
                           .branch = wish.branch,
                           .path = {},
                           .submodules = false};
  if (git::IsFullId(wish.commit) && wish.revision.empty() &&
      commits_.Find({remote.identity(), wish.commit}) != nullptr) {
    co_return checkout;
  }
  std::function<Result<git::Resolved>(const PoolControl&)> work =
      [this, remote, wish](const PoolControl& control) {
        return mirrors_.EnsureCommit(
            remote, {.commit = wish.commit, .revision = wish.revision, .branch = wish.branch},
            GitControl(control));
      };
  auto resolved = co_await RunStoppable(pool_, std::move(work), std::move(progress));
  if (!resolved) {
    co_return Err(std::move(resolved).error().About(SubjectKind::kRepository, remote.origin()));
  }
  checkout.commit = resolved->commit;
  checkout.branch = resolved->branch;
  commits_.Put({remote.identity(), checkout.commit}, true);
  co_return checkout;
}

Awaitable<Result<store::Checkout>> Repositories::ResolveBundle(
    CheckoutWish wish, std::shared_ptr<const v1::RepositoryCommitBundle> bundle,
    ProgressFn progress) {
  CR_CO_TRY_ASSIGN(const git::RemoteUrl remote, Remote(wish.remote_url));
  if (wish.commit != bundle->target_commit_sha() || wish.commit.empty()) {
    co_return Err(ErrorCode::kInvalidArgument,
                  fmt::format("the bundle is of commit {}, and the checkout of {}",
                              bundle->target_commit_sha().substr(0, 64), wish.commit));
  }
  if (!wish.branch.empty() && !git::IsBranchName(wish.branch))
    co_return Err(ErrorCode::kInvalidArgument, fmt::format("'{}' is no branch", wish.branch));
  const store::Checkout checkout{.remote_url = remote.origin(),
                                 .commit = wish.commit,
                                 .branch = wish.branch,
                                 .path = {},
                                 .submodules = false,
                                 .bundle = bundle->digest()};
  std::function<Result<store::Checkout>(const PoolControl&)> work =
      [this, remote, checkout, bundle](const PoolControl& control) -> Result<store::Checkout> {
    CR_TRY(OpenBundle(mirrors_, remote,
                      {.format = bundle->format(),
                       .target = checkout.commit,
                       .digest = checkout.bundle,
                       .bytes = bundle->bundle()},
                      checkout.branch, GitControl(control)));
    CR_TRY(bundles_.Put(checkout.bundle, bundle->bundle()));
    return checkout;
  };
  auto resolved = co_await RunStoppable(pool_, std::move(work), std::move(progress));
  if (!resolved) {
    co_return Err(std::move(resolved).error().About(SubjectKind::kRepository, remote.origin()));
  }
  co_return resolved;
}

Awaitable<Result<std::string>> Repositories::ReadFile(store::Checkout checkout, std::string path) {
  CR_CO_TRY_ASSIGN(const git::RemoteUrl remote, Remote(checkout.remote_url));
  const Recent<std::string>::Key key = {remote.identity(), checkout.commit, checkout.bundle, path};
  if (const std::string* known = files_.Find(key)) co_return *known;
  std::function<Result<std::string>(const PoolControl&)> work =
      [this, remote, checkout, path](const PoolControl& control) -> Result<std::string> {
    const git::Control inner = GitControl(control);
    CR_TRY_ASSIGN(const CommitSource source,
                  OpenCommit(mirrors_, bundles_, remote, checkout, inner));
    const git::Mirror repository = source.Repository(mirrors_.git());
    CR_TRY_ASSIGN(auto text, repository.ReadFile(checkout.commit, path, kMaxFileBytes, inner));
    if (!text) {
      return Err(ErrorCode::kNotFound,
                 fmt::format("commit {} has no file {}", checkout.commit, path));
    }
    return *std::move(text);
  };
  auto text = co_await RunStoppable(pool_, std::move(work), nullptr);
  if (text) files_.Put(key, *text);
  co_return text;
}

std::optional<Result<CheckoutLayers>> Repositories::OpenKnown(const Known& known) const {
  CheckoutLayers out{.files = {}, .warnings = known.warnings};
  for (const layers::LayerId& id : known.layers) {
    const auto record = layers_.Use(id);
    if (!record) return std::nullopt;
    auto file = os::Open(record->file().string(), O_RDONLY);
    if (!file && file.error().code() == ErrorCode::kNotFound) return std::nullopt;
    if (!file) return Err(std::move(file).error());
    out.files.push_back(*std::move(file));
  }
  return out;
}

Awaitable<Result<CheckoutLayers>> Repositories::Layers(store::Checkout checkout,
                                                       CheckoutOwner owner, ProgressFn progress) {
  CR_CO_TRY_ASSIGN(const git::RemoteUrl remote, Remote(checkout.remote_url));
  const Recent<Known>::Key key = {checkout.remote_url,
                                  checkout.commit,
                                  checkout.bundle,
                                  checkout.branch,
                                  std::to_string(checkout.submodules),
                                  std::to_string(owner.uid),
                                  std::to_string(owner.gid)};
  if (const Known* known = checkouts_.Find(key)) {
    auto opened = OpenKnown(*known);
    if (opened) co_return *std::move(opened);
  }
  std::function<Result<repository::CheckedOut>(const PoolControl&)> work =
      [this, remote, checkout,
       owner](const PoolControl& control) -> Result<repository::CheckedOut> {
    const auto inner = ControlOf(control);
    CR_TRY_ASSIGN(const CommitSource source,
                  OpenCommit(mirrors_, bundles_, remote, checkout, inner.git));
    repository::CheckoutOptions options;
    options.owner = {.uid = owner.uid, .gid = owner.gid};
    options.origin = checkout.remote_url;
    if (checkout.submodules) options.submodules = repository::Submodules::kCheckedOut;
    options.parse_url = [this](const std::string& text) { return Remote(text); };
    if (source.bundle) options.bundle = &*source.bundle;
    return repository::Checkouts(mirrors_, layers_).Make(source.resolved, options, inner);
  };
  auto made = co_await RunStoppable(pool_, std::move(work), std::move(progress));
  if (!made) {
    co_return Err(std::move(made).error().About(SubjectKind::kRepository, remote.origin()));
  }
  Known known{.layers = {}, .warnings = WarningsOf(*made)};
  for (const repository::CheckoutLayer& layer : made->layers) {
    known.layers.push_back(layer.record.id);
  }
  auto opened = OpenKnown(known);
  checkouts_.Put(key, std::move(known));
  if (opened) co_return *std::move(opened);
  co_return Err(ErrorCode::kUnavailable, "a layer of the checkout was removed while it was made");
}

Awaitable<Result<ChangedFiles>> Repositories::Apply(
    store::Checkout checkout, std::shared_ptr<const v1::RepositoryChangeset> local,
    ProgressFn progress) {
  CR_CO_TRY_ASSIGN(const git::RemoteUrl remote, Remote(checkout.remote_url));
  std::function<Result<ChangedFiles>(const PoolControl&)> work =
      [this, remote, checkout, local](const PoolControl& control) -> Result<ChangedFiles> {
    const git::Control inner = GitControl(control);
    CR_TRY_ASSIGN(const CommitSource source,
                  OpenCommit(mirrors_, bundles_, remote, checkout, inner));
    const git::Mirror repository = source.Repository(mirrors_.git());
    CR_TRY_ASSIGN(const auto applied, repository::ApplyChangeSet(repository, checkout.commit,
                                                                 ChangeSetOf(*local), inner));
    ChangedFiles out{.removed = applied.removed(), .tar = {}};
    if (applied.writes()) {
      CR_TRY_ASSIGN(const auto archive, applied.OpenArchive(inner));
      CR_TRY_ASSIGN(out.tar, os::OpenUnnamed(config_.state_dir));
      CR_TRY(CopyAll(*archive, out.tar.get()));
    }
    return out;
  };
  auto applied = co_await RunStoppable(pool_, std::move(work), std::move(progress));
  co_return applied;
}

}  // namespace cleanroom::server
