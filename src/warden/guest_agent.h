// What the warden asks of the agent in its guest, apart from commands (execution.h). Every answer
// is hostile.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/async.h"
#include "cleanroom/internal/v1/guest.pb.h"
#include "cleanroom/internal/v1/warden.pb.h"
#include "rpc/client.h"
#include "rpc/service.h"

namespace cleanroom::warden {

namespace pb = ::cleanroom::internal::v1;

// Gives the guest its identity, and its clock what the request took to arrive. Returns the release
// of its kernel, at most 128 bytes.
Awaitable<Result<std::string>> GiveIdentity(std::shared_ptr<rpc::Channel> agent,
                                            pb::ConfigureRequest identity,
                                            std::chrono::steady_clock::time_point deadline);

// Has it make a folder of the layers in these slots, the topmost first.
Awaitable<Result<void>> MountLayers(std::shared_ptr<rpc::Channel> agent, pb::MountRequest request,
                                    std::chrono::steady_clock::time_point deadline);

// Copies a file of the guest's to `out`, as much as was asked for and no more.
Awaitable<Result<void>> CopyFile(std::shared_ptr<rpc::Channel> agent, pb::ReadFileRequest request,
                                 rpc::Writer<pb::FileChunk>& out);

// Whether the guest has said that it will end now.
Awaitable<bool> AskToShutDown(std::shared_ptr<rpc::Channel> agent,
                              std::chrono::steady_clock::time_point deadline);

}  // namespace cleanroom::warden
