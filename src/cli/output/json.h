// The API's messages as JSON for --json: the proto's field names, enums in their short spelling
// ("READY"), times in RFC 3339, ids and digests as they are. Two-space indented, with a newline at
// the end.
#pragma once

#include <string>
#include <vector>

#include "cleanroom/v1/execution.pb.h"
#include "cleanroom/v1/image.pb.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "cleanroom/v1/system.pb.h"
#include "document/diagnostic.h"

namespace cleanroom::cli {

std::string ToJson(const v1::Sandbox& sandbox);
std::string ToJson(const v1::ListSandboxesResponse& list);
std::string ToJson(const v1::Execution& execution);
std::string ToJson(const v1::ListExecutionsResponse& list);
std::string ToJson(const v1::Image& image);
std::string ToJson(const v1::ListImagesResponse& list);
std::string ToJson(const v1::DoctorResponse& doctor);
std::string ToJson(const v1::Template& ready);
// {"items", "size_bytes", "reclaimable_bytes"}.
std::string ToJson(const v1::DiskUsageResponse& usage);
// {"dry_run", "items", "freed_bytes", "failures"}.
std::string ToJson(const v1::PruneRequest& request, const v1::PruneResponse& pruned);
// One line: time, service, ... and action ("allow" or "deny"); {"missed": N} for what was missed.
std::string ToJsonLine(const v1::NetworkDecision& decision);

// {"valid": true, "source", "hash", "policy": the compiled policy}.
std::string ValidPolicyJson(const std::string& source, const std::string& hash,
                            const std::string& canonical_json);
// {"valid": false, "source", "errors": [{"file", "line", "column", "message"}]}.
std::string InvalidPolicyJson(const std::string& source,
                              const std::vector<document::Diagnostic>& errors);

}  // namespace cleanroom::cli
