#include "workspace/incoming.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "archive/tar_reader.h"
#include "base/printable.h"
#include "base/sha256/sha256.h"
#include "workspace/blob_hash.h"
#include "workspace/index_entries.h"
#include "workspace/tree_path.h"

namespace cleanroom::workspace {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;

std::string ShownPath(std::string_view path) { return EscapeUnprintable(path.substr(0, 200)); }

class IncomingReader {
 public:
  IncomingReader(std::string_view object_format, const IncomingLimits& limits)
      : format_(object_format), limits_(limits) {}

  Result<void> ReadTar(archive::ByteSource& source) {
    archive::Limits limits;
    limits.max_unpacked_bytes = limits_.max_total_bytes;
    CR_TRY_ASSIGN(auto tar, archive::TarReader::Open(source, limits));
    archive::TarEntry entry;
    while (true) {
      CR_TRY_ASSIGN(const bool more, tar.Next(entry));
      if (!more) return {};
      CR_TRY(Count(entry.path.size() + entry.target.size()));
      CR_TRY(Take(tar, entry));
    }
  }

  Result<void> ReadDeleted(std::vector<std::string> paths) {
    for (std::string& path : paths) {
      CR_TRY(Count(path.size()));
      if (const auto why = WhyNotInTree(path)) {
        out_.refused.push_back({std::move(path), std::string(*why)});
      } else {
        CR_TRY(Claim(path));
        out_.deleted.push_back(std::move(path));
      }
    }
    return {};
  }

  Result<Incoming> Finish() {
    std::ranges::sort(out_.files, {}, &IncomingFile::path);
    std::ranges::sort(out_.deleted);
    std::unordered_set<std::string_view> files;
    for (const IncomingFile& file : out_.files) files.insert(file.path);
    for (const IncomingFile& file : out_.files) {
      for (auto at = ParentOf(file.path); !at.empty(); at = ParentOf(at)) {
        if (files.contains(at)) {
          return Err(
              ErrorCode::kDataCorrupt,
              fmt::format("the sandbox sends {} both as a file and as a folder", ShownPath(at)));
        }
      }
    }
    return std::move(out_);
  }

 private:
  Result<void> Count(uint64_t name_bytes) {
    name_bytes_ += name_bytes;
    if (++entries_ > limits_.max_entries) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the sandbox sends more than {} paths", limits_.max_entries));
    }
    if (name_bytes_ > limits_.max_name_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the paths that the sandbox sends have more than {} bytes",
                             limits_.max_name_bytes));
    }
    return {};
  }

  Result<void> Claim(const std::string& path) {
    if (seen_.insert(path).second) return {};
    return Err(ErrorCode::kDataCorrupt, fmt::format("the sandbox names {} twice", ShownPath(path)));
  }

  void Refuse(const archive::TarEntry& entry, std::string_view reason) {
    out_.refused.push_back({entry.path, std::string(reason)});
  }

  Result<void> Take(archive::TarReader& tar, const archive::TarEntry& entry) {
    using archive::EntryType;
    const std::string path(PlainEntryPath(entry.path));
    if (entry.type == EntryType::kFolder) {
      // Folders are made for what is in them: git knows none.
      std::string_view plain = path;
      while (plain.ends_with('/')) plain.remove_suffix(1);
      if (plain.empty() || plain == ".") return {};
      if (const auto why = WhyNotInTree(plain)) Refuse(entry, *why);
      return {};
    }
    if (const auto why = WhyNotInTree(path)) {
      Refuse(entry, *why);
      return {};
    }
    if (entry.type == EntryType::kSymlink) return TakeLink(entry, path);
    if (entry.type == EntryType::kFile) return TakeFile(tar, entry, path);
    Refuse(entry, entry.type == EntryType::kHardLink ? "it is a hard link" : "it is no file");
    return {};
  }

  Result<void> TakeLink(const archive::TarEntry& entry, const std::string& path) {
    if (const auto why = WhyNotTarget(path, entry.target)) {
      Refuse(entry, fmt::format("the link is not made: {}", *why));
      return {};
    }
    CR_TRY(Claim(path));
    out_.files.push_back({.path = path,
                          .mode = std::string(kModeLink),
                          .id = BlobIdOf(format_, entry.target),
                          .sha256 = Sha256Hex(entry.target),
                          .target = entry.target,
                          .size = entry.target.size(),
                          .mtime = entry.mtime});
    return {};
  }

  // The size is known, and held to the limits, before anything is read: holes cost the sender
  // nothing.
  Result<void> TakeFile(archive::TarReader& tar, const archive::TarEntry& entry,
                        const std::string& path) {
    CR_TRY(Claim(path));
    if (entry.size > limits_.max_file_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("{} has {} bytes in the sandbox, more than {}", ShownPath(path),
                             entry.size, limits_.max_file_bytes));
    }
    total_bytes_ += entry.size;
    if (total_bytes_ > limits_.max_total_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("what the sandbox has changed is larger than {} bytes",
                             limits_.max_total_bytes));
    }
    BlobHash id(format_, entry.size);
    Sha256 sha256;
    uint64_t left = entry.size;
    while (true) {
      CR_TRY_ASSIGN(const size_t size, tar.ReadSome(buffer_));
      if (size == 0) break;
      if (size > left) {
        left = 1;
        break;
      }
      left -= size;
      const std::string_view piece(reinterpret_cast<const char*>(buffer_.data()), size);
      id.Add(piece);
      sha256.Add(piece);
    }
    if (left != 0) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("the tar has not as much of {} as it says", ShownPath(path)));
    }
    out_.files.push_back(
        {.path = path,
         .mode = std::string((entry.permissions & 0111U) != 0 ? kModeProgram : kModeFile),
         .id = id.Finish(),
         .sha256 = sha256.Finish(),
         .target = {},
         .size = entry.size,
         .mtime = entry.mtime});
    return {};
  }

  std::string format_;
  IncomingLimits limits_;
  Incoming out_;
  std::unordered_set<std::string> seen_;
  size_t entries_ = 0;
  uint64_t name_bytes_ = 0, total_bytes_ = 0;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(kBufferBytes);
};

}  // namespace

std::string_view PlainEntryPath(std::string_view path) {
  if (path.starts_with("./")) path.remove_prefix(2);
  return path;
}

Result<Incoming> ReadIncoming(archive::ByteSource& tar, std::vector<std::string> deleted,
                              std::string_view object_format, const IncomingLimits& limits) {
  IncomingReader reader(object_format, limits);
  CR_TRY(reader.ReadTar(tar));
  CR_TRY(reader.ReadDeleted(std::move(deleted)));
  return reader.Finish();
}

}  // namespace cleanroom::workspace
