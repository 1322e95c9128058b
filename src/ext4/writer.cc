#include "ext4/writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace cleanroom::ext4 {
namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr uint64_t kSyncStep = 16 << 20;
constexpr uint32_t kMaxExtentBlocks = 32768;  // of an initialised extent in ext4

}  // namespace

Result<Writer> Writer::Create(const std::filesystem::path& path) {
  CR_TRY_ASSIGN(os::UniqueFd fd, os::Open(path, O_RDWR | O_CREAT | O_EXCL, 0644));
  Writer out(path, std::move(fd));
  out.buffer_.reserve(kBufferBytes);
  out.next_block_ = kFirstDataBlock;
  out.buffer_offset_ = kFirstDataBlock * kBlockBytes;
  return out;
}

Result<void> Writer::Flush() {
  CR_TRY(os::PwriteAll(fd_.get(), buffer_, buffer_offset_));
  buffer_offset_ += buffer_.size();
  buffer_.clear();
  if (buffer_offset_ - synced_ > kSyncStep) {
    // Starts writing back, so that the fsync at the end finds little left to do.
    ::sync_file_range(fd_.get(), static_cast<off64_t>(synced_),
                      static_cast<off64_t>(buffer_offset_ - synced_), SYNC_FILE_RANGE_WRITE);
    synced_ = buffer_offset_;
  }
  return {};
}

Result<void> Writer::Append(std::span<const uint8_t> data) {
  while (!data.empty()) {
    const size_t room = kBufferBytes - buffer_.size();
    const auto head = data.first(std::min(room, data.size()));
    buffer_.insert(buffer_.end(), head.begin(), head.end());
    data = data.subspan(head.size());
    if (buffer_.size() == kBufferBytes) CR_TRY(Flush());
  }
  return {};
}

Result<void> Writer::AppendZeros(uint64_t count) {
  static constexpr uint8_t kZeros[kBlockBytes] = {};
  while (count > 0) {
    const uint64_t n = std::min<uint64_t>(count, kBlockBytes);
    CR_TRY(Append({kZeros, n}));
    count -= n;
  }
  return {};
}

Result<void> Writer::PadBlock() {
  const uint64_t end = buffer_offset_ + buffer_.size();
  CR_TRY(AppendZeros((kBlockBytes - end % kBlockBytes) % kBlockBytes));
  next_block_ = (buffer_offset_ + buffer_.size()) / kBlockBytes;
  return {};
}

void Writer::EndRun() {
  if (!in_run_) return;
  in_run_ = false;
  uint64_t count = next_block_ - run_physical_;
  while (count > 0) {
    const auto n = static_cast<uint32_t>(std::min<uint64_t>(count, kMaxExtentBlocks));
    extents_.push_back({static_cast<uint32_t>(run_logical_), run_physical_, n});
    run_logical_ += n;
    run_physical_ += n;
    count -= n;
  }
}

Result<void> Writer::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (data.empty()) return {};
  if (offset < position_)
    return Err(ErrorCode::kDataCorrupt, "the tar has a file whose parts overlap");
  const bool same_block =
      in_run_ && position_ % kBlockBytes != 0 && offset / kBlockBytes == position_ / kBlockBytes;
  if (same_block) {
    CR_TRY(AppendZeros(offset - position_));
  } else if (!in_run_ || offset != position_) {
    CR_TRY(PadBlock());
    EndRun();
    in_run_ = true;
    run_logical_ = offset / kBlockBytes;
    run_physical_ = next_block_;
    CR_TRY(AppendZeros(offset % kBlockBytes));
  }
  position_ = offset + data.size();
  return Append(data);
}

Result<std::vector<Extent>> Writer::EndFile() {
  CR_TRY(PadBlock());
  EndRun();
  position_ = 0;
  return std::exchange(extents_, {});
}

Result<void> Writer::Release(const std::vector<Extent>& extents) {
  if (extents.empty()) return {};
  CR_TRY(Flush());
  for (const Extent& extent : extents) {
    // A host file system without holes keeps the bytes; only space is lost.
    ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(extent.physical * kBlockBytes),
                static_cast<off_t>(extent.count) * kBlockBytes);
    released_.push_back(extent);
  }
  return {};
}

Result<uint64_t> Writer::AppendBlocks(std::span<const uint8_t> data) {
  const uint64_t first = next_block_;
  CR_TRY(Append(data));
  CR_TRY(PadBlock());
  return first;
}

}  // namespace cleanroom::ext4
