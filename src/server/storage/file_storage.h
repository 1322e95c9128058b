// The owners of what are plain files: kernels, records, caches.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "server/layout.h"
#include "server/storage/storage.h"
#include "server/storage/template_storage.h"

namespace cleanroom::server {

// A list of files, of which one is removed by its path.
class FileStorage : public StorageOwner {
 public:
  FileStorage(BlockingPool& pool, WallClock clock) : pool_(pool), clock_(std::move(clock)) {}

  Awaitable<Result<std::vector<StoredItem>>> List() override;
  Awaitable<Result<void>> Remove(StoredItem item) override;

 protected:
  // Runs on the pool, so it holds what it needs: the files of this owner, nothing marked as in use.
  using Scan = std::function<std::vector<StoredItem>(int64_t now)>;
  virtual Scan Scanner() const = 0;
  virtual bool InUse(const StoredItem& item) const = 0;

 private:
  BlockingPool& pool_;
  WallClock clock_;
};

// Kernels and initramfs of the cache folder. In use is what sandboxes boot with.
class KernelStorage : public FileStorage {
 public:
  KernelStorage(BlockingPool& pool, WallClock clock, std::filesystem::path cache, BootsWith machine)
      : FileStorage(pool, std::move(clock)),
        cache_(std::move(cache)),
        machine_(std::move(machine)) {}

  // In the cache folder.
  static std::set<std::string> Folders() { return {"kernels", "initramfs"}; }

 protected:
  Scan Scanner() const override;
  bool InUse(const StoredItem& item) const override;

 private:
  std::filesystem::path cache_;
  BootsWith machine_;
};

// Folders of sandboxes, output of executions, the audit log, the records: never removed here.
class RecordStorage : public FileStorage {
 public:
  RecordStorage(BlockingPool& pool, WallClock clock, std::filesystem::path state,
                const Layout& layout)
      : FileStorage(pool, std::move(clock)), state_(std::move(state)), layout_(layout) {}

 protected:
  Scan Scanner() const override;
  bool InUse(const StoredItem& item) const override;

 private:
  std::filesystem::path state_;
  const Layout& layout_;
};

// Formatted empty disks, and whatever else lies in the cache folder but what others own.
class CacheStorage : public FileStorage {
 public:
  // `owned`: names in the cache folder that are another owner's.
  CacheStorage(BlockingPool& pool, WallClock clock, std::filesystem::path cache,
               std::set<std::string> owned)
      : FileStorage(pool, std::move(clock)), cache_(std::move(cache)), owned_(std::move(owned)) {}

 protected:
  Scan Scanner() const override;
  bool InUse(const StoredItem&) const override { return false; }

 private:
  std::filesystem::path cache_;
  std::set<std::string> owned_;
};

}  // namespace cleanroom::server
