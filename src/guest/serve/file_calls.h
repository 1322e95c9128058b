// FileCalls: the file procedures of GuestService (proto/cleanroom/internal/v1/files.proto).
//
// Each call reads or writes a piece at a time and lets others have their turn in between; nothing
// waits but for the disk. What is new belongs to the owner.
#pragma once

#include <optional>
#include <string>

#include "base/async.h"
#include "cleanroom/internal/v1/files.pb.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "guest/files/root.h"
#include "rpc/service.h"
#include "tree/file_writer.h"

namespace cleanroom::guest {

// Of content in one message to the host.
inline constexpr size_t kFileChunkBytes = 128 << 10;

class FileCalls {
 public:
  // The root outlives every call.
  FileCalls(const Root& root, std::optional<tree::Owner> owner) : root_(&root), owner_(owner) {}

  Awaitable<Result<void>> Read(internal::v1::ReadFileRequest request,
                               rpc::Writer<internal::v1::FileChunk>& out) const;
  Result<internal::v1::PathInfo> Stat(const internal::v1::StatPathRequest& request) const;
  Awaitable<Result<void>> Walk(internal::v1::WalkTreeRequest request,
                               rpc::Writer<internal::v1::PathInfos>& out) const;
  // Of a folder that is made of layers, whose upper folder this is, what has changed.
  Awaitable<Result<void>> WalkChanges(std::string folder, std::string upper,
                                      rpc::Writer<internal::v1::PathInfos>& out) const;
  Awaitable<Result<internal::v1::WriteFileResult>> Write(
      rpc::Reader<internal::v1::WriteFileInput>& in) const;
  Awaitable<Result<internal::v1::RemovePathResult>> Remove(
      internal::v1::RemovePathRequest request) const;
  Awaitable<Result<void>> Archive(internal::v1::ArchivePathsRequest request,
                                  rpc::Writer<internal::v1::ArchiveChunk>& out) const;
  Awaitable<Result<internal::v1::ExtractArchiveResult>> Extract(
      rpc::Reader<internal::v1::ExtractArchiveInput>& in) const;

 private:
  const Root* root_;
  std::optional<tree::Owner> owner_;
};

}  // namespace cleanroom::guest
