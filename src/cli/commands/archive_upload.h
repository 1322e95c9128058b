// A tar of local files, streamed into a sandbox and unpacked there.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "base/async.h"
#include "cleanroom/v1/files.pb.h"
#include "client/api.h"
#include "rpc/relay.h"
#include "tree/packer.h"

namespace cleanroom::cli {

// `packer` is the caller's until this returns; `told`, if any, is called after each piece is packed.
Awaitable<Result<void>> UploadArchive(client::Api& api,
                                      ::cleanroom::v1::ExtractSandboxArchiveInit init,
                                      tree::Packer& packer, std::function<void()> told);

// The limits of every upload. The daemon has shorter ones; these are for a daemon that hangs.
inline constexpr rpc::SendLimits kUploadLimits{.write = std::chrono::minutes(10),
                                               .answer = std::chrono::minutes(90)};
inline constexpr size_t kUploadPiece = 256U << 10;  // bytes of a message

}  // namespace cleanroom::cli
