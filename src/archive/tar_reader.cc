#include "archive/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <locale.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>

namespace cleanroom::archive {
namespace {

constexpr size_t kBufferBytes = 256 << 10;

// libarchive converts names from UTF-8 to the thread's locale, and between two Unicode forms while
// at it, which would turn one name into another. In the C locale it cannot, so it leaves bytes
// alone (and warns of those not ASCII).
class BytesScope {
 public:
  explicit BytesScope(locale_t locale) : before_(locale != nullptr ? uselocale(locale) : nullptr) {}
  ~BytesScope() {
    if (before_ != nullptr) uselocale(before_);
  }
  BytesScope(const BytesScope&) = delete;
  BytesScope& operator=(const BytesScope&) = delete;

 private:
  locale_t before_;
};

std::optional<EntryType> TypeOf(mode_t type) {
  switch (type) {
    case AE_IFREG:
      return EntryType::kFile;
    case AE_IFDIR:
      return EntryType::kFolder;
    case AE_IFLNK:
      return EntryType::kSymlink;
    case AE_IFCHR:
      return EntryType::kCharDevice;
    case AE_IFBLK:
      return EntryType::kBlockDevice;
    case AE_IFIFO:
      return EntryType::kFifo;
    default:
      return {};
  }
}

// An access control list as setxattr takes it: a version and entries of tag, rights and id.
// libext2fs, which turns it into ext4's own form, is given no other.
bool IsAcl(std::string_view value) {
  constexpr std::string_view kVersion("\x02\0\0\0", 4);
  constexpr size_t kEntryBytes = 8, kFewest = 3;
  if (!value.starts_with(kVersion)) return false;
  value.remove_prefix(kVersion.size());
  if (value.size() % kEntryBytes != 0 || value.size() < kFewest * kEntryBytes) return false;
  for (; !value.empty(); value.remove_prefix(kEntryBytes)) {
    const bool known = std::string_view("\x01\x02\x04\x08\x10\x20").contains(value[0]);
    if (!known || value[1] != 0 || (value[2] & ~7) != 0 || value[3] != 0) return false;
  }
  return true;
}

std::string_view View(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

}  // namespace

struct TarReader::Impl {
  ByteSource* source = nullptr;
  Limits limits;
  ::archive* reader = nullptr;
  locale_t locale = nullptr;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kBufferBytes);
  std::optional<Error> source_error;
  // What libarchive has read since it began with a header, while it is at it: it keeps whole
  // headers and maps of sparse files in memory.
  std::optional<uint64_t> header_bytes;
  bool in_entry = false;

  ~Impl() {
    const BytesScope scope(locale);
    if (reader != nullptr) archive_read_free(reader);
  }

  static la_ssize_t OnRead(::archive* reader, void* self_pointer, const void** out) {
    auto* self = static_cast<Impl*>(self_pointer);
    Result<size_t> n = self->source->Read(self->buffer);
    if (!n) {
      self->source_error = std::move(n).error();
      archive_set_error(reader, EIO, "source failed");
      return -1;
    }
    if (self->header_bytes) *self->header_bytes += *n;
    if (self->header_bytes.value_or(0) > self->limits.max_header_bytes + self->buffer.size()) {
      self->source_error =
          Error(ErrorCode::kResourceExhausted,
                fmt::format("the tar has a header or a map of a sparse file larger than {} bytes",
                            self->limits.max_header_bytes));
      archive_set_error(reader, EFBIG, "header too large");
      return -1;
    }
    *out = self->buffer.data();
    return static_cast<la_ssize_t>(*n);
  }

  static la_int64_t OnSkip(::archive*, void* self_pointer, la_int64_t count) {
    auto* self = static_cast<Impl*>(self_pointer);
    return count <= 0 ? 0
                      : static_cast<la_int64_t>(self->source->Skip(static_cast<uint64_t>(count)));
  }

  std::unexpected<Error> Failure(std::string_view where) {
    if (source_error) return Err(*source_error);
    const std::string_view says = View(archive_error_string(reader));
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("the tar is damaged{}{}: {}", where.empty() ? "" : " at ", where,
                           says.empty() ? "unreadable" : says));
  }
};

TarReader::TarReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TarReader::TarReader(TarReader&&) noexcept = default;
TarReader::~TarReader() = default;

Result<TarReader> TarReader::Open(ByteSource& source, const Limits& limits) {
  auto impl = std::make_unique<Impl>();
  impl->source = &source;
  impl->limits = limits;
  impl->locale = newlocale(LC_CTYPE_MASK, "C", nullptr);
  const BytesScope scope(impl->locale);
  impl->reader = archive_read_new();
  if (impl->reader == nullptr) return Err(ErrorCode::kInternal, "libarchive did not start");
  archive_read_support_format_tar(impl->reader);
  archive_read_support_format_empty(impl->reader);
  archive_read_set_read_callback(impl->reader, &Impl::OnRead);
  archive_read_set_skip_callback(impl->reader, &Impl::OnSkip);
  archive_read_set_callback_data(impl->reader, impl.get());
  if (archive_read_open1(impl->reader) != ARCHIVE_OK) return impl->Failure("");
  return TarReader(std::move(impl));
}

Result<bool> TarReader::Next(TarEntry& out) {
  const BytesScope scope(impl_->locale);
  archive_entry* entry = nullptr;
  // What the caller left of the last entry is no header.
  if (impl_->in_entry) archive_read_data_skip(impl_->reader);
  if (impl_->source_error) return Err(*impl_->source_error);
  impl_->header_bytes = 0;
  const int status = archive_read_next_header(impl_->reader, &entry);
  impl_->header_bytes.reset();
  if (impl_->source_error) return Err(*impl_->source_error);
  if (status == ARCHIVE_EOF) return false;
  impl_->in_entry = status == ARCHIVE_OK || status == ARCHIVE_WARN;
  // A name that is not ASCII is a warning; it is taken as the bytes it is.
  const bool odd_name =
      status == ARCHIVE_WARN && View(archive_error_string(impl_->reader)).contains("converted");
  if (status != ARCHIVE_OK && !odd_name)
    return impl_->Failure(status == ARCHIVE_WARN ? View(archive_entry_pathname(entry)) : "");

  out = TarEntry();
  out.path = View(archive_entry_pathname(entry));
  const std::string_view shown = std::string_view(out.path).substr(0, 200);
  if (out.path.empty()) return Err(ErrorCode::kDataCorrupt, "the tar has an entry without a name");
  if (out.path.size() > impl_->limits.max_path_bytes) {
    return Err(ErrorCode::kDataCorrupt, fmt::format("the tar has a path longer than {} bytes: {}…",
                                                    impl_->limits.max_path_bytes, shown));
  }
  if (const char* hard = archive_entry_hardlink(entry); hard != nullptr) {
    out.type = EntryType::kHardLink;
    out.target = hard;
  } else {
    const std::optional<EntryType> type = TypeOf(archive_entry_filetype(entry));
    if (!type)
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("the tar has an entry of unknown type: {}", shown));
    out.type = *type;
    if (out.type == EntryType::kSymlink) out.target = View(archive_entry_symlink(entry));
  }
  const bool link = out.type == EntryType::kHardLink || out.type == EntryType::kSymlink;
  if (link && (out.target.empty() || out.target.size() >= impl_->limits.max_path_bytes)) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("the tar has a link without a usable target: {}", shown));
  }
  out.permissions = archive_entry_perm(entry) & 07777;
  const auto uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
  if (uid < 0 || gid < 0 || uid > UINT32_MAX || gid > UINT32_MAX) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("the tar has an owner that is no 32-bit id: {}", shown));
  }
  out.uid = static_cast<uint32_t>(uid);
  out.gid = static_cast<uint32_t>(gid);
  out.mtime = archive_entry_mtime(entry);
  out.mtime_nsec =
      static_cast<uint32_t>(std::clamp(archive_entry_mtime_nsec(entry), 0L, 999'999'999L));
  const auto size = archive_entry_size(entry);
  if (out.type == EntryType::kFile) {
    if (size < 0 || static_cast<uint64_t>(size) > impl_->limits.max_unpacked_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the tar has a file larger than {} bytes: {}",
                             impl_->limits.max_unpacked_bytes, shown));
    }
    out.size = static_cast<uint64_t>(size);
  }
  if (out.type == EntryType::kCharDevice || out.type == EntryType::kBlockDevice) {
    out.device_major = static_cast<uint32_t>(archive_entry_rdevmajor(entry));
    out.device_minor = static_cast<uint32_t>(archive_entry_rdevminor(entry));
    if (out.device_major >= 1u << 12 || out.device_minor >= 1u << 20) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("the tar has a device number that Linux has not: {}", shown));
    }
  }
  size_t xattr_bytes = 0;
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t value_size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &value_size) == ARCHIVE_OK) {
    if (name == nullptr) continue;
    Xattr xattr{.name = name, .value = std::string(static_cast<const char*>(value), value_size)};
    xattr_bytes += xattr.name.size() + xattr.value.size();
    if (xattr.name.size() > 255 || xattr_bytes > impl_->limits.max_xattr_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the tar has more than {} bytes of extended attributes on {}",
                             impl_->limits.max_xattr_bytes, shown));
    }
    if (xattr.name.starts_with("system.posix_acl_") && !IsAcl(xattr.value)) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("the tar has a malformed access control list on {}", shown));
    }
    out.xattrs.push_back(std::move(xattr));
  }
  return true;
}

Result<void> TarReader::ReadData(const DataFn& on_data) {
  const BytesScope scope(impl_->locale);
  impl_->header_bytes = 0;  // the map of a sparse file comes before its first data
  while (true) {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(impl_->reader, &data, &size, &offset);
    impl_->header_bytes.reset();
    if (impl_->source_error) return Err(*impl_->source_error);
    if (status == ARCHIVE_EOF) return {};
    if (status != ARCHIVE_OK) return impl_->Failure("");
    if (size == 0) continue;
    CR_TRY(on_data(static_cast<uint64_t>(offset), {static_cast<const uint8_t*>(data), size}));
  }
}

Result<size_t> TarReader::ReadSome(std::span<uint8_t> buffer) {
  const BytesScope scope(impl_->locale);
  impl_->header_bytes = 0;
  const la_ssize_t n =
      archive_read_data(impl_->reader, buffer.data(),
                        std::min<size_t>(buffer.size(), impl_->limits.max_header_bytes));
  impl_->header_bytes.reset();
  if (impl_->source_error) return Err(*impl_->source_error);
  if (n < 0) return impl_->Failure("");
  return static_cast<size_t>(n);
}

}  // namespace cleanroom::archive
