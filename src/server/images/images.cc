#include "server/images/images.h"

#include <fmt/format.h>
#include <malloc.h>

#include "base/image_ref.h"
#include "image/import.h"
#include "image/pull.h"

namespace cleanroom::server {

namespace {

// To callers of the API `unavailable` is the daemon itself.
Error OfRegistry(Error error) {
  if (error.code() != ErrorCode::kUnavailable) return error;
  return std::move(error).As(ErrorCode::kUpstreamError);
}

}  // namespace

Images::Images(asio::any_io_executor executor, image::ImageStore store,
               registry::RegistryOptions options)
    : executor_(executor),
      store_(std::move(store)),
      options_(std::move(options)),
      tasks_(executor) {}

Awaitable<Result<ImageOutcome>> Images::Pull(std::string text, ProgressFn progress,
                                             registry::PlainHttp plain_http) {
  CR_CO_TRY_ASSIGN(const auto ref, ImageRef::Parse(text));
  const std::string key =
      ref.ToString() + (plain_http == registry::PlainHttp::kOnly ? " plain" : "");
  std::shared_ptr<ImageJob>& shared = pulls_[key];
  if (!shared) {
    shared = std::make_shared<ImageJob>(executor_);
    registry::RegistryOptions options = options_;
    options.plain_http = plain_http;
    auto work = [store = store_, options = std::move(options),
                 ref](const image::Control& control) -> Result<ImageOutcome> {
      if (!ref.digest.empty()) {
        auto present = store.Find(ref.digest);
        if (present) return ImageOutcome{.record = std::move(*present), .was_present = true};
      }
      Result<image::ImageRecord> pulled = image::Pull(store, options, ref, control);
      // The tree of an image's files was memory of this thread, and the C library would keep it.
      malloc_trim(0);
      if (!pulled) return Err(OfRegistry(std::move(pulled).error()));
      image::ImageRecord record = *std::move(pulled);
      return ImageOutcome{.record = std::move(record), .was_present = false};
    };
    tasks_.Spawn(shared->Run(pool_, std::move(work)));
  }
  // By value: the map may change while we wait.
  const std::shared_ptr<ImageJob> job = shared;
  ++job->watchers;
  auto outcome = co_await job->Watch(std::move(progress));
  --job->watchers;
  if (job->done() || job->watchers == 0) {
    if (!job->done()) job->Stop();
    // A later caller starts anew.
    const auto found = pulls_.find(key);
    if (found != pulls_.end() && found->second == job) pulls_.erase(found);
  }
  co_return outcome;
}

std::shared_ptr<ImageJob> Images::StartImport(const ImageRef& ref, os::UniqueFd fd) {
  auto job = std::make_shared<ImageJob>(executor_);
  // Shared, because std::function copies.
  auto source = std::make_shared<os::UniqueFd>(std::move(fd));
  auto work = [store = store_, limits = image::Limits{options_.limits, {}}, ref,
               source](const image::Control& control) -> Result<ImageOutcome> {
    auto record = image::Import(store, ref, source->get(), limits, control);
    // Now, so that whoever feeds the pipe notices.
    source->reset();
    malloc_trim(0);  // as after a pull
    if (!record) return Err(std::move(record).error());
    return ImageOutcome{.record = std::move(*record), .was_present = false};
  };
  tasks_.Spawn(job->Run(imports_pool_, std::move(work)));
  std::erase_if(imports_, [](const std::weak_ptr<ImageJob>& import) { return import.expired(); });
  imports_.push_back(job);
  return job;
}

Awaitable<Result<std::vector<image::ImageRecord>>> Images::List() {
  auto work = [store = store_] { return store.List(); };
  auto records = co_await quick_.Run(work);
  co_return records;
}

Awaitable<Result<image::ImageRecord>> Images::Get(std::string ref) {
  auto work = [store = store_, ref] { return store.Get(ref); };
  auto record = co_await quick_.Run(work);
  co_return record;
}

Awaitable<Result<image::ImageRecord>> Images::Remove(std::string ref) {
  auto uses = uses_;
  auto work = [store = store_, ref, uses]() mutable {
    const auto in_use = [uses](const image::ImageRecord& record) {
      const std::lock_guard lock(uses->mutex);
      return uses->counts.contains(record.digest);
    };
    return store.Remove(ref, in_use, {});
  };
  auto removed = co_await quick_.Run(work);
  co_return removed;
}

Awaitable<Result<std::string>> Images::Resolve(std::string text, registry::PlainHttp plain_http) {
  if (IsSha256Digest(text)) {
    CR_CO_TRY_ASSIGN(const auto present, co_await Get(text));
    co_return present.Pinned();
  }
  CR_CO_TRY_ASSIGN(const auto ref, ImageRef::Parse(text));
  CR_CO_TRY_ASSIGN(const auto local, ImageRef::Parse(text, kLocalRegistry));
  if (local.registry == kLocalRegistry) {
    auto imported = co_await Get(local.ToString());
    if (imported) co_return local.Pinned(imported->digest);
  }
  registry::RegistryOptions options = options_;
  options.plain_http = plain_http;
  image::Control control;
  control.stop = stopping_.get_token();
  auto work = [options = std::move(options), ref, control] {
    return image::Resolve(options, ref, control);
  };
  auto digest = co_await pool_.Run(work);
  if (!digest) co_return Err(OfRegistry(std::move(digest).error()));
  co_return ref.Pinned(*digest);
}

std::shared_ptr<void> Images::Use(const std::string& digest) {
  {
    const std::lock_guard lock(uses_->mutex);
    ++uses_->counts[digest];
  }
  return {uses_.get(), [uses = uses_, digest](void*) {
            const std::lock_guard lock(uses->mutex);
            if (--uses->counts[digest] == 0) uses->counts.erase(digest);
          }};
}

bool Images::InUse(const std::string& digest) const {
  const std::lock_guard lock(uses_->mutex);
  return uses_->counts.contains(digest);
}

Awaitable<void> Images::Shutdown() {
  stopping_.request_stop();
  for (const auto& [ref, job] : pulls_) job->Stop();
  for (const auto& import : imports_) {
    if (const auto job = import.lock()) job->Stop();
  }
  co_await tasks_.Join();
}

}  // namespace cleanroom::server
