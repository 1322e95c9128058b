// FileRelay: the file procedures, from whoever may ask to the guest and back.
//
// What they carry is not looked into: a tar is the guest's to write and the client's to read. The
// guest is hostile, so what it sends is counted against what was asked for, and it is waited for
// only so long.
#pragma once

#include <memory>

#include "base/async.h"
#include "cleanroom/internal/v1/files.pb.h"
#include "rpc/client.h"
#include "rpc/service.h"
#include "warden/guest_watch.h"

namespace cleanroom::warden {

namespace pb = ::cleanroom::internal::v1;

// One call; lives as long as it does.
class FileRelay {
 public:
  // `watch` outlives it, and knows that something waits for the guest.
  FileRelay(std::shared_ptr<rpc::Channel> agent, GuestWatch& watch);
  ~FileRelay();
  FileRelay(const FileRelay&) = delete;

  Awaitable<Result<pb::PathInfo>> Stat(pb::StatPathRequest request);
  Awaitable<Result<void>> Walk(pb::WalkTreeRequest request, rpc::Writer<pb::PathInfos>& out);
  Awaitable<Result<pb::WriteFileResult>> Write(rpc::Reader<pb::WriteFileInput>& in);
  Awaitable<Result<pb::RemovePathResult>> Remove(pb::RemovePathRequest request);
  Awaitable<Result<void>> Archive(pb::ArchivePathsRequest request,
                                  rpc::Writer<pb::ArchiveChunk>& out);
  Awaitable<Result<pb::ExtractArchiveResult>> Extract(rpc::Reader<pb::ExtractArchiveInput>& in);

 private:
  std::shared_ptr<rpc::Channel> agent_;
  GuestWatch& watch_;
};

}  // namespace cleanroom::warden
