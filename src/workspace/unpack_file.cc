#include "workspace/unpack_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <vector>

#include "archive/byte_source.h"
#include "base/printable.h"
#include "base/sha256/sha256.h"
#include "os/file.h"
#include "workspace/index_entries.h"

namespace cleanroom::workspace {
namespace {

std::unexpected<Error> WriteFailure(const std::string& path) {
  const int error = errno;
  const std::string shown = EscapeUnprintable(path);
  return Err(
      Error::FromErrno(os::CodeForErrno(error), error, shown).About(SubjectKind::kFile, shown));
}

std::unexpected<Error> AnotherTar() {
  return Err(ErrorCode::kDataCorrupt, "the tar is not the one that was read before");
}

}  // namespace

Result<void> UnpackFile(archive::TarReader& tar, const archive::TarEntry& entry,
                        const IncomingFile& file, int folder, const std::string& name) {
  if (file.mode == kModeLink) {
    if (entry.target != file.target) return AnotherTar();
    if (symlinkat(file.target.c_str(), folder, name.c_str()) != 0) return WriteFailure(file.path);
    return {};
  }
  CR_TRY_ASSIGN(const auto fd, os::OpenAt(folder, name, O_WRONLY | O_CREAT | O_EXCL, 0600));
  Sha256 hash;
  uint64_t written = 0;
  std::vector<uint8_t> buffer(std::clamp<uint64_t>(file.size, 1, uint64_t{256} << 10));
  while (true) {
    CR_TRY_ASSIGN(const size_t size, tar.ReadSome(buffer));
    if (size == 0) break;
    written += size;
    if (written > file.size) break;
    const std::string_view piece(reinterpret_cast<const char*>(buffer.data()), size);
    hash.Add(piece);
    CR_TRY(os::WriteAll(fd.get(), piece, file.path));
  }
  if (written != file.size || hash.Finish() != file.sha256) return AnotherTar();
  if (fchmod(fd.get(), file.mode == kModeProgram ? 0755 : 0644) != 0)
    return WriteFailure(file.path);
  // Not in the future, where build tools would take it for newer than all they make.
  const timespec time = {.tv_sec = std::clamp<int64_t>(file.mtime, 0, std::time(nullptr)),
                         .tv_nsec = 0};
  const std::array<timespec, 2> times = {time, time};
  if (futimens(fd.get(), times.data()) != 0) return WriteFailure(file.path);
  return {};
}

Result<void> UnpackEach(int tar, size_t count, const UnpackFn& unpack) {
  CR_TRY_ASSIGN(const uint64_t size, os::FileSize(tar));
  archive::FileSource source(tar, 0, size);
  CR_TRY_ASSIGN(auto reader, archive::TarReader::Open(source, archive::Limits{}));
  archive::TarEntry entry;
  size_t unpacked = 0;
  while (true) {
    CR_TRY_ASSIGN(const bool more, reader.Next(entry));
    if (!more) break;
    if (entry.type != archive::EntryType::kFile && entry.type != archive::EntryType::kSymlink)
      continue;
    CR_TRY_ASSIGN(const bool wanted, unpack(reader, entry));
    unpacked += wanted ? 1 : 0;
  }
  if (unpacked != count) return AnotherTar();
  return {};
}

}  // namespace cleanroom::workspace
