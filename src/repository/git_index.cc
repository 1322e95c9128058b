#include "repository/git_index.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cstring>

namespace cleanroom::repository {
namespace {

constexpr size_t kHeader = 12;
// In an entry: ten numbers of four bytes, then the object's id, then the flags.
constexpr size_t kCtime = 0, kCtimeNs = 4, kMtime = 8, kMtimeNs = 12, kDevice = 16, kInode = 20,
                 kMode = 24, kUid = 28, kGid = 32, kSize = 36, kObject = 40;
constexpr uint16_t kExtended = 0x4000;
constexpr uint16_t kStageMask = 0x3000;

size_t HashBytes(HashAlgorithm algorithm) { return algorithm == HashAlgorithm::kSha1 ? 20 : 32; }

std::unexpected<Error> Damaged(std::string_view what) {
  return Err(ErrorCode::kDataCorrupt, fmt::format("git's index is not as expected: {}", what));
}

}  // namespace

uint32_t GitIndex::Get(size_t offset) const {
  std::array<uint8_t, 4> b;
  std::memcpy(b.data(), bytes_.data() + offset, b.size());
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

void GitIndex::Put(size_t offset, uint32_t value) {
  const std::array<uint8_t, 4> b = {static_cast<uint8_t>(value >> 24),
                                    static_cast<uint8_t>(value >> 16),
                                    static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  std::memcpy(bytes_.data() + offset, b.data(), b.size());
}

Result<GitIndex> GitIndex::Parse(std::string bytes, HashAlgorithm algorithm, uint64_t max_entries) {
  const size_t hash = HashBytes(algorithm);
  if (bytes.size() < kHeader + hash || !bytes.starts_with("DIRC")) return Damaged("its header");
  GitIndex out(std::move(bytes), algorithm);
  if (out.Get(4) != 2) return Damaged("its version");
  const uint32_t count = out.Get(8);
  if (count > max_entries) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the commit has {} files; at most {} are allowed", count, max_entries));
  }
  const size_t end = out.bytes_.size() - hash;
  const size_t fixed = kObject + hash + 2;
  if (count > end / fixed) return Damaged("its count");
  out.entries_.reserve(count);
  size_t at = kHeader;
  for (uint32_t i = 0; i < count; ++i) {
    if (end - at < fixed + 1) return Damaged("an entry");
    const auto flags = static_cast<uint16_t>(out.Get(at + fixed - 4) & 0xffff);
    if ((flags & (kExtended | kStageMask)) != 0) return Damaged("an entry's flags");
    const size_t nul = out.bytes_.find('\0', at + fixed);
    if (nul == std::string::npos || nul >= end || nul == at + fixed) return Damaged("a path");
    const size_t length = (nul - at + 8) / 8 * 8;
    if (length > end - at) return Damaged("an entry's end");
    out.entries_.push_back({std::string_view(out.bytes_).substr(at + fixed, nul - at - fixed),
                            out.Get(at + kMode), at});
    at += length;
  }
  return out;
}

FileStat GitIndex::Stat(const Entry& entry) const {
  const size_t at = entry.offset;
  return {Get(at + kMtime), Get(at + kInode), Get(at + kUid), Get(at + kGid), Get(at + kSize)};
}

void GitIndex::SetStat(const Entry& entry, const FileStat& stat) {
  const size_t at = entry.offset;
  // Our layers' files were never changed, so both times are one.
  Put(at + kCtime, stat.mtime);
  Put(at + kCtimeNs, 0);
  Put(at + kMtime, stat.mtime);
  Put(at + kMtimeNs, 0);
  Put(at + kDevice, 0);
  Put(at + kInode, stat.inode);
  Put(at + kUid, stat.uid);
  Put(at + kGid, stat.gid);
  Put(at + kSize, stat.size);
}

Result<std::string> GitIndex::Finish() {
  const size_t hash = HashBytes(algorithm_);
  const size_t end = bytes_.size() - hash;
  unsigned length = 0;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  if (EVP_Digest(bytes_.data(), end, digest.data(), &length,
                 algorithm_ == HashAlgorithm::kSha1 ? EVP_sha1() : EVP_sha256(), nullptr) != 1 ||
      length != hash)
    return Err(ErrorCode::kInternal, "hash an index");
  std::memcpy(bytes_.data() + end, digest.data(), hash);
  return bytes_;
}

}  // namespace cleanroom::repository
