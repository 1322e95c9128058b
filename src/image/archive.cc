#include "image/archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "archive/decompress.h"

namespace cleanroom::image {
namespace {

constexpr size_t kMaxMembers = 4096;
constexpr int kMaxLinks = 8;

std::string_view Clean(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

// Whether docker or an OCI tool puts such a member into an archive.
bool LooksLikeArchiveMember(std::string_view path) {
  for (const std::string_view known :
       {"manifest.json", "repositories", "oci-layout", "index.json", "blobs"}) {
    if (path == known) return true;
  }
  if (path.starts_with("blobs/")) return true;
  const auto hex = std::ranges::find_if_not(
      path, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (hex - path.begin() != 64) return false;
  const std::string_view rest = path.substr(64);
  return rest.empty() || rest == ".json" || rest == ".tar" || rest.starts_with('/');
}

// A member of the archive, found by reading from its beginning; passing over the others costs seeks
// only.
class MemberSource : public archive::ByteSource {
 public:
  MemberSource(int fd, uint64_t size) : file_(fd, 0, size) {}
  Result<void> Find(std::string_view path, const Limits& limits) {
    CR_TRY_ASSIGN(archive::TarReader opened, archive::TarReader::Open(file_, limits));
    tar_.emplace(std::move(opened));
    archive::TarEntry entry;
    while (true) {
      CR_TRY_ASSIGN(const bool more, tar_->Next(entry));
      if (!more) return Err(ErrorCode::kDataCorrupt, fmt::format("the archive has no {}", path));
      if (Clean(entry.path) == path && entry.type == archive::EntryType::kFile) return {};
    }
  }
  Result<size_t> Read(std::span<uint8_t> buffer) override { return tar_->ReadSome(buffer); }

 private:
  archive::FileSource file_;
  std::optional<archive::TarReader> tar_;
};

}  // namespace

Result<Archive> Archive::Open(os::UniqueFd file, const std::filesystem::path& spool_folder,
                              const Limits& limits, const Control& control) {
  Archive out(std::move(file), limits);
  CR_TRY(out.Scan(control));
  std::array<uint8_t, 4> head = {};
  CR_TRY_ASSIGN(const size_t n, os::PreadSome(out.fd(), head, 0));
  if (out.kind_ == ArchiveKind::kRootfs ||
      archive::DetectCompression(std::span(head).first(n)) == archive::Compression::kNone)
    return out;
  // Members are looked up in any order, so a compressed archive is unpacked first.
  CR_TRY_ASSIGN(os::UniqueFd plain, os::OpenUnnamed(spool_folder));
  CR_TRY_ASSIGN(const uint64_t size, os::FileSize(out.fd()));
  archive::FileSource packed(out.fd(), 0, size);
  CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> source,
                archive::Decompress(packed, limits));
  std::vector<uint8_t> buffer(1 << 20);
  for (uint64_t offset = 0;;) {
    CR_TRY(control.Check());
    CR_TRY_ASSIGN(const size_t got, source->Read(buffer));
    if (got == 0) break;
    CR_TRY(os::PwriteAll(plain.get(), std::span(buffer).first(got), offset));
    offset += got;
  }
  out.file_ = std::move(plain);
  return out;
}

Result<void> Archive::Scan(const Control& control) {
  CR_TRY_ASSIGN(const uint64_t size, os::FileSize(file_.get()));
  if (size == 0) return Err(ErrorCode::kDataCorrupt, "the archive is empty");
  archive::FileSource file(file_.get(), 0, size);
  CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> plain,
                archive::Decompress(file, limits_));
  CR_TRY_ASSIGN(archive::TarReader tar, archive::TarReader::Open(*plain, limits_));
  archive::TarEntry entry;
  while (true) {
    CR_TRY(control.Check());
    CR_TRY_ASSIGN(const bool more, tar.Next(entry));
    if (!more) break;
    const std::string_view path = Clean(entry.path);
    if (path.empty() || path == ".") continue;
    if (!LooksLikeArchiveMember(path) || members_.size() >= kMaxMembers) {
      members_.clear();
      return {};  // a root file system
    }
    members_.insert_or_assign(std::string(path), Member{entry.type, entry.size, entry.target});
  }
  if (members_.contains("oci-layout") && members_.contains("index.json")) {
    kind_ = ArchiveKind::kOciLayout;
  } else if (members_.contains("manifest.json")) {
    kind_ = ArchiveKind::kDocker;
  } else if (members_.empty()) {
    return Err(ErrorCode::kDataCorrupt, "the archive has no entries");
  }
  return {};
}

Result<std::string> Archive::Follow(std::string_view path) const {
  std::string name(Clean(path));
  for (int hop = 0; hop < kMaxLinks; ++hop) {
    const auto it = members_.find(name);
    if (it == members_.end() || it->second.type == archive::EntryType::kFolder) break;
    if (it->second.type == archive::EntryType::kFile) return name;
    if (it->second.type == archive::EntryType::kHardLink) {
      name = Clean(it->second.target);
    } else {
      name = (std::filesystem::path(name).parent_path() / it->second.target)
                 .lexically_normal()
                 .string();
    }
  }
  return Err(ErrorCode::kDataCorrupt, fmt::format("the archive has no {}", path.substr(0, 200)));
}

Result<uint64_t> Archive::MemberSize(std::string_view path) const {
  CR_TRY_ASSIGN(const std::string name, Follow(path));
  return members_.find(name)->second.size;
}

Result<std::unique_ptr<archive::ByteSource>> Archive::OpenMember(std::string_view path) const {
  CR_TRY_ASSIGN(const std::string name, Follow(path));
  CR_TRY_ASSIGN(const uint64_t size, os::FileSize(file_.get()));
  auto out = std::make_unique<MemberSource>(file_.get(), size);
  CR_TRY(out->Find(name, limits_));
  return out;
}

Result<std::string> Archive::ReadMember(std::string_view path, uint64_t limit) const {
  CR_TRY_ASSIGN(const uint64_t size, MemberSize(path));
  if (size > limit) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the archive's {} is larger than {} bytes", path, limit));
  }
  CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> source, OpenMember(path));
  std::string out(size, '\0');
  size_t done = 0;
  while (done < out.size()) {
    CR_TRY_ASSIGN(const size_t n,
                  source->Read({reinterpret_cast<uint8_t*>(out.data()) + done, out.size() - done}));
    if (n == 0)
      return Err(ErrorCode::kDataCorrupt, fmt::format("the archive's {} is cut off", path));
    done += n;
  }
  return out;
}

}  // namespace cleanroom::image
