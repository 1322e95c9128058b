// A tar that may hold an image: a docker-archive (`docker save`), an OCI image layout, or a plain
// root file system.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "archive/byte_source.h"
#include "archive/tar_reader.h"
#include "base/result.h"
#include "image/control.h"

namespace cleanroom::image {

enum class ArchiveKind { kRootfs, kDocker, kOciLayout };

class Archive {
 public:
  // `file` holds the tar, compressed or not. `spool_folder` takes the unpacked form of a compressed
  // archive. data_corrupt when it is no tar; canceled.
  static Result<Archive> Open(os::UniqueFd file, const std::filesystem::path& spool_folder,
                              const Limits& limits, const Control& control);

  ArchiveKind kind() const { return kind_; }
  int fd() const { return file_.get(); }

  // Of archives that are not kRootfs. Members by their path without "./"; symbolic links inside the
  // archive are followed (older `docker save` has them). data_corrupt when there is none.
  Result<uint64_t> MemberSize(std::string_view path) const;
  Result<std::unique_ptr<archive::ByteSource>> OpenMember(std::string_view path) const;
  Result<std::string> ReadMember(std::string_view path, uint64_t limit) const;

 private:
  struct Member {
    archive::EntryType type;
    uint64_t size;
    std::string target;
  };
  Archive(os::UniqueFd file, const Limits& limits) : file_(std::move(file)), limits_(limits) {}
  Result<void> Scan(const Control& control);
  Result<std::string> Follow(std::string_view path) const;

  os::UniqueFd file_;
  Limits limits_;
  ArchiveKind kind_ = ArchiveKind::kRootfs;
  std::map<std::string, Member, std::less<>> members_;
};

}  // namespace cleanroom::image
