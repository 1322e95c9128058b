#include "image/store.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

namespace cleanroom::image {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxRecordBytes = 64u << 20;
constexpr const char* kRecord = "image.json";
constexpr const char* kRootfs = "rootfs.ext4";
// Whoever holds an image may be pulling it; the records are changed in an instant.
constexpr std::chrono::minutes kImageLimit{60};
constexpr std::chrono::minutes kRefsLimit{1};

Result<ImageRecord> ReadRecord(const fs::path& folder) {
  CR_TRY_ASSIGN(const std::string text, os::ReadFile(folder / kRecord, kMaxRecordBytes));
  CR_TRY_ASSIGN(ImageRecord record, RecordFromJson(text));
  record.rootfs = folder / kRootfs;
  struct stat st;
  if (::stat(record.rootfs.c_str(), &st) != 0) {
    return ErrErrno(ErrorCode::kDataCorrupt, fmt::format("look at {}", record.rootfs.string()));
  }
  return record;
}

// What a writer of a record that was killed left beside it. Under the lock under which they are
// written.
Result<void> RemoveHalfWrittenRecords(const fs::path& folder) {
  CR_TRY_ASSIGN(const os::StoppableLock changing,
                os::StoppableLock::Acquire(folder / "locks" / "refs", {}, kRefsLimit));
  std::error_code error, ignored;
  for (fs::directory_iterator image(folder / "images", error), end; !error && image != end;
       image.increment(error)) {
    for (fs::directory_iterator it(image->path(), ignored); !ignored && it != end;
         it.increment(ignored)) {
      if (it->path().filename().string().starts_with(std::string(kRecord) + "."))
        fs::remove(it->path(), ignored);
    }
  }
  return {};
}

std::unexpected<Error> NoImage(std::string_view text, std::string_view what_then = "") {
  return Err(Error(ErrorCode::kNotFound, fmt::format("no image {} here{}", text, what_then))
                 .About(SubjectKind::kImage, std::string(text)));
}

}  // namespace

Result<ImageStore> ImageStore::Open(const fs::path& cache_folder) {
  const fs::path folder = fs::absolute(cache_folder);
  for (const char* name : {"images", "locks", "tmp"}) CR_TRY(os::MakeDirs(folder / name, 0755));
  os::TempFolder::RemoveStale(folder / "tmp");
  os::StoppableLock::RemoveStale(folder / "locks");
  CR_TRY(RemoveHalfWrittenRecords(folder));
  return ImageStore(folder);
}

fs::path ImageStore::ImageFolder(const std::string& digest) const {
  std::string name = digest;
  std::ranges::replace(name, ':', '-');  // QEMU reads "x:" at the start of a path as a protocol
  return folder_ / "images" / name;
}

Result<std::vector<ImageRecord>> ImageStore::List() const {
  std::vector<ImageRecord> out;
  std::error_code error;
  for (fs::directory_iterator it(folder_ / "images", error), end; !error && it != end;
       it.increment(error)) {
    Result<ImageRecord> record = ReadRecord(it->path());
    if (record) out.push_back(std::move(*record));
  }
  if (error) {
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("list {}", folder_.string())));
  }
  std::ranges::sort(out, {}, &ImageRecord::digest);
  return out;
}

std::optional<ImageRecord> ImageStore::Find(const std::string& digest) const {
  if (!IsSha256Digest(digest)) return {};
  Result<ImageRecord> record = ReadRecord(ImageFolder(digest));
  if (!record) return {};
  return std::move(*record);
}

Result<ImageRecord> ImageStore::Get(std::string_view text) const {
  if (IsSha256Digest(text)) {
    if (std::optional<ImageRecord> record = Find(std::string(text))) return std::move(*record);
    return NoImage(text, "; see `cleanroom image ls`");
  }
  // A short name may have been imported, or pulled from Docker Hub.
  for (const std::string_view short_names : {kLocalRegistry, kDockerHub}) {
    CR_TRY_ASSIGN(const ImageRef ref, ImageRef::Parse(text, short_names));
    if (!ref.digest.empty()) {
      if (std::optional<ImageRecord> record = Find(ref.digest)) return std::move(*record);
      break;
    }
    CR_TRY_ASSIGN(std::vector<ImageRecord> all, List());
    const std::string wanted = StoredRef(ref);
    for (ImageRecord& record : all) {
      if (std::ranges::find(record.refs, wanted) != record.refs.end()) return std::move(record);
    }
  }
  return NoImage(text, fmt::format("; get it with `cleanroom image pull {}`", text));
}

Result<ImageRecord> ImageStore::Remove(std::string_view text, const InUseFn& in_use,
                                       const std::stop_token& stop) {
  CR_TRY_ASSIGN(const ImageRecord found, Get(text));
  CR_TRY_ASSIGN(const os::StoppableLock lock, Lock(found.digest, stop));
  std::optional<ImageRecord> record = Find(found.digest);
  if (!record) return NoImage(found.digest);
  if (in_use && in_use(*record)) {
    return Err(Error(ErrorCode::kFailedPrecondition,
                     fmt::format("the image {} is in use by a sandbox; remove the sandbox first",
                                 record->Pinned()))
                   .About(SubjectKind::kImage, record->Pinned())
                   .Remedy("See the state of things with: cleanroom sandbox ls --all"));
  }
  // Out of sight in one step, then taken apart.
  CR_TRY_ASSIGN(const os::TempFolder temp, MakeTemp());
  std::error_code error;
  fs::rename(ImageFolder(record->digest), temp.path() / "image", error);
  if (error) {
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("remove the image {}", record->digest)));
  }
  CR_TRY(os::SyncFolder(folder_ / "images"));
  return std::move(*record);
}

Result<os::StoppableLock> ImageStore::Lock(const std::string& digest,
                                           const std::stop_token& stop) const {
  return os::StoppableLock::Acquire(folder_ / "locks" / ImageFolder(digest).filename(), stop,
                                    kImageLimit);
}

Result<os::TempFolder> ImageStore::MakeTemp() const {
  return os::TempFolder::Create(folder_ / "tmp");
}

Result<ImageRecord> ImageStore::Commit(ImageRecord record, const os::TempFolder& built) const {
  const fs::path ready = built.path() / "image";
  std::error_code error;
  fs::create_directory(ready, error);
  if (!error) fs::rename(built.path() / kRootfs, ready / kRootfs, error);
  const fs::path target = ImageFolder(record.digest);
  struct stat st;
  if (!error && ::stat((ready / kRootfs).c_str(), &st) == 0)
    record.disk_bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  if (!error) CR_TRY(os::WriteFileAtomic(ready / kRecord, RecordToJson(record)));
  // Only a damaged image (no readable record) can be in the way: the lock is held and Find saw
  // none.
  if (!error && fs::exists(target)) fs::rename(target, built.path() / "damaged", error);
  if (!error) fs::rename(ready, target, error);
  if (error) {
    return Err(Error::FromErrno(ErrorCode::kInternal, error.value(),
                                fmt::format("store the image in {}", target.string())));
  }
  CR_TRY(os::SyncFolder(folder_ / "images"));
  record.rootfs = target / kRootfs;
  return record;
}

Result<ImageRecord> ImageStore::AddRef(const std::string& digest, const ImageRef& ref,
                                       const std::stop_token& stop) const {
  const std::string name = StoredRef(ref);
  // Records are changed under one lock; the locks of other images are not taken, two callers could
  // then wait for each other.
  CR_TRY_ASSIGN(const os::StoppableLock changing,
                os::StoppableLock::Acquire(folder_ / "locks" / "refs", stop, kRefsLimit));
  if (!ref.tag.empty() || ref.digest.empty()) {
    CR_TRY_ASSIGN(std::vector<ImageRecord> all, List());
    for (ImageRecord& other : all) {
      if (other.digest == digest || std::erase(other.refs, name) == 0) continue;
      Result<void> written =
          os::WriteFileAtomic(ImageFolder(other.digest) / kRecord, RecordToJson(other));
      if (!written && Find(other.digest))
        return Err(std::move(written).error());  // else it was just removed
    }
  }
  std::optional<ImageRecord> record = Find(digest);
  if (!record) return NoImage(digest);
  if (std::ranges::find(record->refs, name) == record->refs.end()) {
    record->refs.push_back(name);
    CR_TRY(os::WriteFileAtomic(ImageFolder(digest) / kRecord, RecordToJson(*record)));
  }
  return std::move(*record);
}

}  // namespace cleanroom::image
