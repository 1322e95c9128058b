#include "tree/packer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tree/names.h"

namespace cleanroom::tree {
namespace {

// Of files with several names that are remembered; further ones come twice.
constexpr size_t kMaxLinks = 100'000;

bool SameTime(timespec a, timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

Packer::Packer(std::vector<std::string> paths, Opener opener, Mounts mounts)
    : paths_(std::move(paths)), opener_(std::move(opener)), mounts_(mounts) {}

Result<bool> Packer::Fill(std::string& out, size_t size) {
  while (out.size() < size) {
    if (file_) {
      CR_TRY(ReadContent(out, size));
      continue;
    }
    if (ended_) {
      if (changed_.empty()) return false;
      return PathError(ErrorCode::kFailedPrecondition, changed_,
                       "changed while it was read; what the archive has of it is not whole");
    }
    CR_TRY_ASSIGN(const bool more, BeginNext(out));
    if (!more) {
      out.append(kTarEndBytes, '\0');
      ended_ = true;
    }
  }
  return true;
}

Result<bool> Packer::BeginNext(std::string& out) {
  for (;;) {
    if (!walk_) {
      if (next_path_ == paths_.size()) return false;
      CR_TRY_ASSIGN(start_, opener_(paths_[next_path_++]));
      WalkLimits limits;
      limits.max_entries -= std::min(seen_, limits.max_entries);
      walk_.emplace(start_.folder.get(), start_.name, mounts_, limits);
    }
    CR_TRY_ASSIGN(const Walk::Found* found, walk_->Next());
    if (found != nullptr) {
      ++seen_;
      CR_TRY(BeginEntry(*found, out));
      return true;
    }
    walk_.reset();
  }
}

Result<void> Packer::BeginEntry(const Walk::Found& found, std::string& out) {
  const std::string& start = start_.path;
  TarEntry entry;
  entry.path = start.empty() || found.path.empty() ? start + found.path : start + "/" + found.path;
  if (entry.path.empty()) entry.path = ".";
  entry.permissions = found.info.st_mode & 07777;
  entry.uid = found.info.st_uid;
  entry.gid = found.info.st_gid;
  entry.mtime = found.info.st_mtim;
  if (S_ISDIR(found.info.st_mode)) {
    entry.type = TarType::kFolder;
  } else if (S_ISLNK(found.info.st_mode)) {
    entry.type = TarType::kSymlink;
    entry.target.resize(kMaxPathBytes);
    const ssize_t n =
        readlinkat(found.folder_fd, found.name.c_str(), entry.target.data(), entry.target.size());
    if (n < 0 && (errno == ENOENT || errno == EINVAL)) return {};  // gone, or no link by now
    if (n < 0) return PathError("read the link", entry.path);
    entry.target.resize(static_cast<size_t>(n));
  } else if (S_ISREG(found.info.st_mode) && found.has_data) {
    return BeginFile(found, std::move(entry), out);
  } else {
    return {};
  }
  out += TarHeader(entry);
  return {};
}

Result<void> Packer::BeginFile(const Walk::Found& found, TarEntry entry, std::string& out) {
  os::UniqueFd file(openat(found.folder_fd, found.name.c_str(),
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file && (errno == ENOENT || errno == ELOOP)) return {};
  if (!file || fstat(file.get(), &info_) != 0) return PathError("open", entry.path);
  if (!S_ISREG(info_.st_mode)) return {};
  ++files_;
  if (info_.st_nlink > 1) {
    const std::pair id(info_.st_dev, info_.st_ino);
    const auto known = links_.find(id);
    if (known != links_.end()) {
      entry.type = TarType::kHardLink;
      entry.target = known->second;
      out += TarHeader(entry);
      return {};
    }
    if (links_.size() < kMaxLinks) links_.emplace(id, entry.path);
  }
  entry.size = left_ = static_cast<uint64_t>(info_.st_size);
  out += TarHeader(entry);
  path_ = std::move(entry.path);
  file_ = std::move(file);
  return {};
}

void Packer::NoteChange(const std::string& path) {
  if (changed_.empty()) changed_ = path;
}

Result<void> Packer::ReadContent(std::string& out, size_t size) {
  if (left_ > 0) {
    const size_t had = out.size();
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(left_, size - had));
    out.resize(had + wanted);  // zeros, which is what stays where the file has become short
    const ssize_t n = read(file_.get(), out.data() + had, wanted);
    if (n < 0 && errno != EINTR) return PathError("read", path_);
    if (n == 0) {
      NoteChange(path_);
      left_ -= wanted;
      content_bytes_ += static_cast<int64_t>(wanted);
    } else {
      const size_t got = n < 0 ? 0 : static_cast<size_t>(n);
      out.resize(had + got);
      left_ -= got;
      content_bytes_ += static_cast<int64_t>(got);
    }
  }
  if (left_ == 0) EndFile(out);
  return {};
}

void Packer::EndFile(std::string& out) {
  struct stat now = {};
  if (fstat(file_.get(), &now) != 0 || now.st_size != info_.st_size ||
      !SameTime(now.st_mtim, info_.st_mtim)) {
    NoteChange(path_);
  }
  out.append(TarPadding(static_cast<uint64_t>(info_.st_size)), '\0');
  file_.reset();
}

}  // namespace cleanroom::tree
