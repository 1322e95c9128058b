// The summary of one execution, for tools: execution-observability.json.
#pragma once

#include <string>

#include "base/result.h"
#include "store/records.h"

namespace cleanroom::server {

// Ids, backend, image, policy hash, exit code and the phases of the sandbox and of the command as
// NAME_ms. Pure.
std::string ObservabilityJson(const store::ExecutionRecord& execution,
                              const store::SandboxRecord& sandbox, bool image_was_present);

// FOLDER/execution-observability.json, whole or not there, but for a power failure. Blocks.
Result<void> WriteObservability(const std::string& folder, const std::string& text);

}  // namespace cleanroom::server
