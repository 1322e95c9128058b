// Making a template ready: what `system warmup` and `image pull --warm` share.
#pragma once

#include "base/async.h"
#include "cleanroom/v1/system.pb.h"
#include "cli/output/progress.h"
#include "client/api.h"

namespace cleanroom::cli {

// Asks for it, and follows it to its end.
Awaitable<Result<v1::Template>> WarmUp(client::Api& api, v1::WarmUpRequest request,
                                       Progress& progress);

}  // namespace cleanroom::cli
