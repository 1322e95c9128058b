#include "image/import.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/sha256/digest.h"
#include "image/archive.h"
#include "image/layer.h"

namespace cleanroom::image {
namespace {

// Checks the bytes that pass against a descriptor; the end is an error when they do not match.
class Verified : public archive::ByteSource {
 public:
  Verified(archive::ByteSource& input, const registry::Descriptor& wanted)
      : input_(input), wanted_(wanted) {}
  Result<size_t> Read(std::span<uint8_t> buffer) override {
    CR_TRY_ASSIGN(const size_t n, input_.Read(buffer));
    if (n > 0) {
      hash_.Add(buffer.first(n));
      return n;
    }
    if (!ended_) digest_ = FinishDigest(hash_);
    ended_ = true;
    if (digest_ != wanted_.digest) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("the archive's bytes have the digest {}", digest_));
    }
    return size_t{0};
  }

 private:
  archive::ByteSource& input_;
  const registry::Descriptor& wanted_;
  Sha256 hash_;
  bool ended_ = false;
  std::string digest_;
};

class Importer {
 public:
  Importer(const ImageStore& store, const ImageRef& ref, const Limits& limits,
           const Control& control, os::TempFolder temp)
      : store_(store), ref_(ref), limits_(limits), control_(control), temp_(std::move(temp)) {}

  Result<ImageRecord> Run(int fd) {
    CR_TRY_ASSIGN(os::UniqueFd file, Seekable(fd));
    CR_TRY_ASSIGN(const Archive archive,
                  Archive::Open(std::move(file), temp_.path(), limits_, control_));
    switch (archive.kind()) {
      case ArchiveKind::kRootfs:
        return ImportRootfs(archive);
      case ArchiveKind::kDocker:
        return ImportDocker(archive);
      case ArchiveKind::kOciLayout:
        return ImportLayout(archive);
    }
    return Err(ErrorCode::kInternal, "unknown kind of archive");
  }

 private:
  // A regular file is read where it is; everything else is kept in an unnamed file first.
  Result<os::UniqueFd> Seekable(int fd) {
    struct stat st;
    if (::fstat(fd, &st) != 0) return ErrErrno(ErrorCode::kInvalidArgument, "look at the archive");
    if (S_ISDIR(st.st_mode))
      return Err(ErrorCode::kInvalidArgument, "the archive is a folder; give a tar of it");
    if (S_ISREG(st.st_mode)) {
      os::UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
      if (!own) return ErrErrno(ErrorCode::kInternal, "dup");
      return own;
    }
    CR_TRY_ASSIGN(os::UniqueFd spool, os::OpenUnnamed(temp_.path()));
    std::vector<uint8_t> buffer(1 << 20);
    for (uint64_t offset = 0;;) {
      CR_TRY(control_.Check());
      CR_TRY_ASSIGN(const size_t n, os::ReadSome(fd, buffer));
      if (n == 0) break;
      CR_TRY(os::PwriteAll(spool.get(), std::span(buffer).first(n), offset));
      offset += n;
      if (offset > limits_.max_unpacked_bytes)
        return Err(ErrorCode::kResourceExhausted, "the archive is too large");
      control_.Tell({Phase::kDownload, "", offset, 0});
    }
    return spool;
  }

  Result<ImageRecord> ImportRootfs(const Archive& archive) {
    CR_TRY_ASSIGN(const uint64_t size, os::FileSize(archive.fd()));
    archive::FileSource file(archive.fd(), 0, size);
    CR_TRY_ASSIGN(RootfsBuilder rootfs, NewRootfs());
    CR_TRY_ASSIGN(
        const RootfsBuilder::Applied applied,
        rootfs.Apply(file,
                     {.name = "of the archive", .diff_id = {}, .bytes = size, .need_end = true},
                     control_));
    const std::string config = registry::MakeRootfsConfig(applied.diff_id);
    registry::Manifest manifest;
    manifest.config = {"application/vnd.oci.image.config.v1+json", DigestOf(config), config.size()};
    manifest.layers = {
        {"application/vnd.oci.image.layer.v1.tar", applied.diff_id, applied.unpacked_bytes}};
    ImageRecord record;
    record.manifest_digest = DigestOf(registry::MakeOciManifest(manifest));
    record.digest = ref_.digest.empty() ? record.manifest_digest : ref_.digest;
    CR_TRY_ASSIGN(record.config, registry::ParseConfig(config, limits_));
    record.layers = manifest.layers;
    return Store(std::move(record), rootfs);
  }

  Result<ImageRecord> ImportDocker(const Archive& archive) {
    CR_TRY_ASSIGN(const std::string json,
                  archive.ReadMember("manifest.json", limits_.max_manifest_bytes));
    CR_TRY_ASSIGN(const std::vector<registry::DockerArchiveImage> images,
                  registry::ParseDockerArchive(json, limits_));
    std::vector<std::string> names;
    const registry::DockerArchiveImage* chosen = images.size() == 1 ? images.data() : nullptr;
    for (const registry::DockerArchiveImage& image : images) {
      for (const std::string& tag : image.repo_tags) {
        names.push_back(tag);
        if (images.size() > 1 && NamesThis(tag)) chosen = &image;
      }
    }
    if (chosen == nullptr) return SeveralImages(names);
    CR_TRY_ASSIGN(const std::string config,
                  archive.ReadMember(chosen->config, limits_.max_manifest_bytes));
    ImageRecord record;
    CR_TRY_ASSIGN(record.config, registry::ParseConfig(config, limits_));
    registry::Manifest manifest;
    manifest.config = {"application/vnd.docker.container.image.v1+json", DigestOf(config),
                       config.size()};
    for (size_t i = 0; i < chosen->layers.size(); ++i) {
      CR_TRY_ASSIGN(const uint64_t size, archive.MemberSize(chosen->layers[i]));
      manifest.layers.push_back(
          {"application/vnd.docker.image.rootfs.diff.tar.gzip",
           i < record.config.diff_ids.size() ? record.config.diff_ids[i] : std::string(), size});
    }
    CR_TRY(registry::CheckConfig(record.config, manifest));
    record.digest = record.manifest_digest = DigestOf(registry::MakeDockerManifest(manifest));
    record.layers = manifest.layers;
    CR_TRY(CheckIdentity(record));
    if (store_.Find(record.digest)) return store_.AddRef(record.digest, ref_, control_.stop);
    CR_TRY_ASSIGN(RootfsBuilder rootfs, NewRootfs());
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const registry::Descriptor& layer = manifest.layers[i];
      CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> member,
                    archive.OpenMember(chosen->layers[i]));
      CR_TRY(rootfs.Apply(
          *member, {.name = layer.digest, .diff_id = layer.digest, .bytes = layer.size}, control_));
    }
    return Store(std::move(record), rootfs);
  }

  Result<ImageRecord> ImportLayout(const Archive& archive) {
    CR_TRY_ASSIGN(const std::string json,
                  archive.ReadMember("index.json", limits_.max_manifest_bytes));
    CR_TRY_ASSIGN(const std::vector<registry::LayoutEntry> entries,
                  registry::ParseLayoutIndex(json, limits_));
    std::vector<std::string> names;
    const registry::LayoutEntry* chosen = entries.size() == 1 ? entries.data() : nullptr;
    for (const registry::LayoutEntry& entry : entries) {
      names.push_back(entry.ref_name.empty() ? entry.descriptor.digest : entry.ref_name);
      if (entries.size() > 1 && (ref_.digest.empty() ? NamesThis(entry.ref_name)
                                                     : entry.descriptor.digest == ref_.digest)) {
        chosen = &entry;
      }
    }
    if (chosen == nullptr) return SeveralImages(names);
    ImageRecord record;
    record.digest = record.manifest_digest = chosen->descriptor.digest;
    CR_TRY_ASSIGN(const std::string top, ReadBlob(archive, chosen->descriptor));
    CR_TRY_ASSIGN(registry::Document document, registry::ParseDocument(top, limits_));
    if (!document.manifest) {
      if (document.candidates.empty()) {
        return registry::NoVariant(document);
      }
      record.manifest_digest = document.candidates.front().digest;
      CR_TRY_ASSIGN(const std::string inner, ReadBlob(archive, document.candidates.front()));
      CR_TRY_ASSIGN(document, registry::ParseDocument(inner, limits_));
      if (!document.manifest)
        return Err(ErrorCode::kDataCorrupt, "the image's index leads to another index");
      if (ref_.digest == record.manifest_digest) record.digest = ref_.digest;
    }
    CR_TRY(CheckIdentity(record));
    if (store_.Find(record.digest)) return store_.AddRef(record.digest, ref_, control_.stop);
    const registry::Manifest& manifest = *document.manifest;
    CR_TRY_ASSIGN(const std::string config, ReadBlob(archive, manifest.config));
    CR_TRY_ASSIGN(record.config, registry::ParseConfig(config, limits_));
    CR_TRY(registry::CheckConfig(record.config, manifest));
    record.layers = manifest.layers;
    CR_TRY_ASSIGN(RootfsBuilder rootfs, NewRootfs());
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const registry::Descriptor& layer = manifest.layers[i];
      CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> member,
                    archive.OpenMember(BlobPath(layer)));
      Verified blob(*member, layer);
      CR_TRY(rootfs.Apply(
          blob, {.name = layer.digest, .diff_id = record.config.diff_ids[i], .bytes = layer.size},
          control_));
    }
    return Store(std::move(record), rootfs);
  }

  static std::string BlobPath(const registry::Descriptor& blob) {
    return "blobs/sha256/" + blob.digest.substr(7);
  }

  Result<std::string> ReadBlob(const Archive& archive, const registry::Descriptor& blob) const {
    CR_TRY_ASSIGN(std::string out, archive.ReadMember(BlobPath(blob), limits_.max_manifest_bytes));
    const std::string digest = DigestOf(out);
    if (digest != blob.digest) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("the archive's blob {} has the digest {}", blob.digest, digest));
    }
    return out;
  }

  // Whether an archive's name ("debian:12", "host/debian:12", "12") is that of the reference.
  bool NamesThis(std::string_view name) const {
    const std::string tag = ref_.tag.empty() ? "latest" : ref_.tag;
    const std::string path = ref_.repository + ":" + tag;
    return name == tag || name == path || name == ref_.registry + "/" + path;
  }

  static std::unexpected<Error> SeveralImages(const std::vector<std::string>& names) {
    return Err(ErrorCode::kInvalidArgument,
               fmt::format("the archive has {} images; import under the name of one of them: {}",
                           names.size(), fmt::join(names, ", ")));
  }

  Result<void> CheckIdentity(const ImageRecord& record) const {
    if (ref_.digest.empty() || ref_.digest == record.digest) return {};
    return Err(
        ErrorCode::kInvalidArgument,
        fmt::format("the archive's image has the digest {}, not {}", record.digest, ref_.digest));
  }

  Result<RootfsBuilder> NewRootfs() {
    return RootfsBuilder::Create(temp_.path() / "rootfs.ext4", limits_);
  }

  Result<ImageRecord> Store(ImageRecord record, RootfsBuilder& rootfs) {
    control_.Tell({Phase::kFinish, "", 0, 0});
    const std::string digest = record.digest;
    CR_TRY(rootfs.Finish(digest));
    CR_TRY_ASSIGN(const os::StoppableLock lock, store_.Lock(digest, control_.stop));
    if (!store_.Find(digest)) {
      record.pulled_at = std::time(nullptr);
      CR_TRY(store_.Commit(std::move(record), temp_));
    }
    return store_.AddRef(digest, ref_, control_.stop);
  }

  const ImageStore& store_;
  const ImageRef& ref_;
  const Limits& limits_;
  const Control& control_;
  os::TempFolder temp_;
};

}  // namespace

Result<ImageRecord> Import(const ImageStore& store, const ImageRef& ref, int fd,
                           const Limits& limits, const Control& control) {
  if (!ref.digest.empty() && store.Find(ref.digest))
    return store.AddRef(ref.digest, ref, control.stop);
  CR_TRY_ASSIGN(os::TempFolder temp, store.MakeTemp());
  Importer importer(store, ref, limits, control, std::move(temp));
  Result<ImageRecord> record = importer.Run(fd);
  if (!record) {
    Error error = std::move(record).error().Context("importing " + ref.ToString());
    if (error.code() == ErrorCode::kDataCorrupt)
      return Err(std::move(error).About(SubjectKind::kArchive));
    return Err(OfImage(std::move(error), ref.ToString()));
  }
  return record;
}

}  // namespace cleanroom::image
