#include "server/api/file_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/printable.h"
#include "base/utf8.h"

namespace cleanroom::server {
namespace {

namespace pb = ::cleanroom::internal::v1;

constexpr size_t kMaxPath = 4096, kMaxName = 255;
constexpr int kMaxPaths = 1000;
// 0001-01-01 and 9999-12-31, which is what a Timestamp may be.
constexpr int64_t kFirstSecond = -62'135'596'800, kLastSecond = 253'402'300'799;
constexpr int32_t kNanos = 1'000'000'000;

bool IsTime(int64_t seconds, int32_t nanos) {
  return seconds >= kFirstSecond && seconds <= kLastSecond && nanos >= 0 && nanos < kNanos;
}

std::unexpected<Error> Refuse(std::string_view path, std::string_view why) {
  const std::string shown = EscapeUnprintable(path.substr(0, 200));
  return Err(Error(ErrorCode::kInvalidArgument, fmt::format("the path '{}' {}", shown, why))
                 .About(SubjectKind::kFile, shown));
}

Result<void> CheckBytes(std::string_view path) {
  if (path.size() > kMaxPath) return Refuse(path, fmt::format("has more than {} bytes", kMaxPath));
  if (path.contains('\0')) return Refuse(path, "has a NUL byte");
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > kMaxName) {
      return Refuse(path.substr(0, end), fmt::format("has a name of more than {} bytes", kMaxName));
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return {};
}

// A path of the archive, relative to the base; without one they are absolute.
Result<std::string> ArchivedPath(const std::string& path, bool based) {
  if (!based) {
    CR_TRY_ASSIGN(std::string absolute, AbsolutePath(path, ""));
    const size_t begin = std::min(absolute.find_first_not_of('/'), absolute.size());
    absolute.erase(0, begin);
    return absolute.empty() ? "." : absolute;
  }
  CR_TRY(CheckBytes(path));
  if (path.empty() || path.starts_with('/')) return Refuse(path, "is not relative to the base");
  return path;
}

}  // namespace

Result<std::string> AbsolutePath(const std::string& path, const std::string& raw) {
  const std::string& named = raw.empty() ? path : raw;
  if (!named.starts_with('/')) {
    return Refuse(named, "is not absolute, as a path in a sandbox must be");
  }
  CR_TRY(CheckBytes(named));
  return named;
}

Result<pb::ArchivePathsRequest> ToArchive(const v1::ArchiveSandboxPathsRequest& request) {
  const bool based = !request.base().empty() || !request.raw_base().empty();
  pb::ArchivePathsRequest archive;
  archive.set_base("/");
  if (based) {
    CR_TRY_ASSIGN(*archive.mutable_base(), AbsolutePath(request.base(), request.raw_base()));
  }
  for (const auto* paths : {&request.paths(), &request.raw_paths()}) {
    for (const std::string& path : *paths) {
      if (archive.paths_size() == kMaxPaths) {
        return Err(ErrorCode::kInvalidArgument,
                   fmt::format("more than {} paths to archive", kMaxPaths));
      }
      CR_TRY_ASSIGN(*archive.add_paths(), ArchivedPath(path, based));
    }
  }
  if (archive.paths().empty()) {
    return Err(ErrorCode::kInvalidArgument, "no path to archive is named");
  }
  return archive;
}

v1::SandboxPathInfo ToPublic(const pb::PathInfo& info) {
  v1::SandboxPathInfo message;
  message.set_path(ToValidUtf8(info.path()));
  if (message.path() != info.path()) message.set_raw_path(info.path());
  message.set_symlink_target(ToValidUtf8(info.symlink_target()));
  if (message.symlink_target() != info.symlink_target()) {
    message.set_raw_symlink_target(info.symlink_target());
  }
  switch (info.type()) {
    case pb::PathInfo::TYPE_FILE:
      message.set_type(v1::SANDBOX_PATH_TYPE_FILE);
      break;
    case pb::PathInfo::TYPE_DIRECTORY:
      message.set_type(v1::SANDBOX_PATH_TYPE_DIRECTORY);
      break;
    case pb::PathInfo::TYPE_SYMLINK:
      message.set_type(v1::SANDBOX_PATH_TYPE_SYMLINK);
      break;
    case pb::PathInfo::TYPE_GONE:
      message.set_type(v1::SANDBOX_PATH_TYPE_GONE);
      break;
    default:
      message.set_type(v1::SANDBOX_PATH_TYPE_OTHER);
  }
  message.set_size_bytes(std::max<int64_t>(info.size(), 0));
  message.set_mode(info.mode() & 07777);
  if (IsTime(info.mtime().seconds(), info.mtime().nanos())) {
    message.mutable_mtime()->set_seconds(info.mtime().seconds());
    message.mutable_mtime()->set_nanos(info.mtime().nanos());
  }
  return message;
}

Result<pb::FileTime> FromPublic(const google::protobuf::Timestamp& time) {
  if (!IsTime(time.seconds(), time.nanos())) {
    return Err(ErrorCode::kInvalidArgument, "mtime is no time between the years 1 and 9999");
  }
  pb::FileTime out;
  out.set_seconds(time.seconds());
  out.set_nanos(time.nanos());
  return out;
}

}  // namespace cleanroom::server
