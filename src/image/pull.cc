#include "image/pull.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <atomic>
#include <ctime>
#include <mutex>
#include <thread>

#include "archive/spool.h"
#include "image/layer.h"

namespace cleanroom::image {
namespace {

constexpr size_t kParallelDownloads = 3;
constexpr uint64_t kProgressStep = 2 << 20;

// The layers on their way. Destroying it cancels what still runs.
class Downloads {
 public:
  Downloads(const registry::Registry& registry, const std::vector<registry::Descriptor>& layers,
            const Control& control)
      : registry_(registry),
        layers_(layers),
        control_(control),
        on_stop_(control.stop, [this] { stop_.request_stop(); }) {}

  ~Downloads() {
    stop_.request_stop();
    workers_.clear();
  }

  Result<void> Start(const std::filesystem::path& folder) {
    for (size_t i = 0; i < layers_.size(); ++i) {
      CR_TRY_ASSIGN(os::UniqueFd file, os::OpenUnnamed(folder));
      spools_.push_back(std::make_unique<archive::Spool>(std::move(file)));
    }
    for (size_t i = 0; i < std::min(kParallelDownloads, layers_.size()); ++i) {
      workers_.emplace_back([this] { Work(); });
    }
    return {};
  }

  archive::Spool& spool(size_t layer) { return *spools_[layer]; }
  void Drop(size_t layer) { spools_[layer].reset(); }  // after Wait: its worker is done with it
  std::stop_token stop() { return stop_.get_token(); }

 private:
  void Work() {
    registry::Registry registry = registry_.Clone();
    while (true) {
      const size_t i = next_++;
      if (i >= layers_.size()) return;
      uint64_t done = 0, told = 0;
      const registry::Registry::BlobSink sink = [&](std::span<const uint8_t> data) -> Result<void> {
        CR_TRY(spools_[i]->Append(data));
        done += data.size();
        if (done >= told + kProgressStep || done == layers_[i].size) {
          told = done;
          control_.Tell({Phase::kDownload, layers_[i].digest, done, layers_[i].size});
        }
        return {};
      };
      spools_[i]->Finish(registry.GetBlob(layers_[i], sink, stop_.get_token()));
    }
  }

  const registry::Registry& registry_;
  const std::vector<registry::Descriptor>& layers_;
  const Control& control_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> on_stop_;
  std::vector<std::unique_ptr<archive::Spool>> spools_;
  std::atomic<size_t> next_ = 0;
  std::vector<std::jthread> workers_;
};

// Downloads and unpacks into `temp`; the store's lock for `digest` is held.
Result<ImageRecord> Build(const ImageStore& store, registry::Registry& registry,
                          const registry::RegistryOptions& options,
                          const registry::Registry::Fetched& top, const os::TempFolder& temp,
                          const Control& control) {
  ImageRecord record;
  record.digest = record.manifest_digest = top.digest;
  CR_TRY_ASSIGN(registry::Document document, registry::ParseDocument(top.bytes, options.limits));
  if (!document.manifest) {
    if (document.candidates.empty()) {
      return registry::NoVariant(document);
    }
    record.manifest_digest = document.candidates.front().digest;
    CR_TRY_ASSIGN(const registry::Registry::Fetched inner,
                  registry.GetManifest(record.manifest_digest, control.stop));
    CR_TRY_ASSIGN(document, registry::ParseDocument(inner.bytes, options.limits));
    if (!document.manifest)
      return Err(ErrorCode::kDataCorrupt, "the image's index leads to another index");
  }
  const registry::Manifest& manifest = *document.manifest;
  CR_TRY_ASSIGN(const std::string config, registry.GetSmallBlob(manifest.config, control.stop));
  CR_TRY_ASSIGN(record.config, registry::ParseConfig(config, options.limits));
  CR_TRY(registry::CheckConfig(record.config, manifest));
  record.layers = manifest.layers;

  Downloads downloads(registry, manifest.layers, control);
  CR_TRY(downloads.Start(temp.path()));
  CR_TRY_ASSIGN(RootfsBuilder rootfs,
                RootfsBuilder::Create(temp.path() / "rootfs.ext4", Limits{options.limits, {}}));
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const registry::Descriptor& layer = manifest.layers[i];
    const std::unique_ptr<archive::ByteSource> blob =
        downloads.spool(i).NewReader(downloads.stop());
    CR_TRY(rootfs.Apply(
        *blob, {.name = layer.digest, .diff_id = record.config.diff_ids[i], .bytes = layer.size},
        control));
    CR_TRY(downloads.spool(i).Wait(downloads.stop()));
    downloads.Drop(i);
  }
  control.Tell({Phase::kFinish, "", 0, 0});
  CR_TRY(rootfs.Finish(record.digest));
  CR_TRY(control.Check());
  record.pulled_at = std::time(nullptr);
  return store.Commit(std::move(record), temp);
}

}  // namespace

Result<std::string> Resolve(const registry::RegistryOptions& options, const ImageRef& ref,
                            const Control& control) {
  control.Tell({Phase::kResolve, "", 0, 0});
  registry::Registry registry(options, ref);
  CR_TRY_ASSIGN(
      const registry::Registry::Fetched top,
      registry.GetManifest(ref.digest.empty() ? ref.TagOrLatest() : ref.digest, control.stop));
  CR_TRY(registry::ParseDocument(top.bytes, options.limits));
  return top.digest;
}

Result<ImageRecord> Pull(const ImageStore& store, const registry::RegistryOptions& options,
                         const ImageRef& ref, const Control& outer) {
  if (!ref.digest.empty() && store.Find(ref.digest))
    return store.AddRef(ref.digest, ref, outer.stop);
  std::mutex mutex;
  Control control = outer;
  if (outer.progress) {
    control.progress = [&mutex, &outer](const Progress& progress) {
      const std::lock_guard lock(mutex);
      outer.progress(progress);
    };
  }
  control.Tell({Phase::kResolve, "", 0, 0});
  registry::Registry registry(options, ref);
  CR_TRY_ASSIGN(
      const registry::Registry::Fetched top,
      registry.GetManifest(ref.digest.empty() ? ref.TagOrLatest() : ref.digest, control.stop));
  CR_TRY_ASSIGN(const os::StoppableLock lock, store.Lock(top.digest, control.stop));
  if (!store.Find(top.digest)) {
    CR_TRY_ASSIGN(const os::TempFolder temp, store.MakeTemp());
    Result<ImageRecord> built = Build(store, registry, options, top, temp, control);
    if (!built)
      return Err(
          OfImage(std::move(built).error(), ref.ToString()).Context("image " + ref.ToString()));
  }
  return store.AddRef(top.digest, ref, control.stop);
}

}  // namespace cleanroom::image
