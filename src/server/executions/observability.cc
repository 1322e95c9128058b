#include "server/executions/observability.h"

#include <nlohmann/json.hpp>

#include "os/file.h"
#include "server/convert.h"

namespace cleanroom::server {

std::string ObservabilityJson(const store::ExecutionRecord& execution,
                              const store::SandboxRecord& sandbox, bool image_was_present) {
  nlohmann::ordered_json json;
  json["execution_id"] = execution.id.text();
  json["sandbox_id"] = sandbox.id.text();
  json["backend"] = sandbox.backend;
  json["accelerator"] = sandbox.accelerator;
  json["image_ref"] = sandbox.image_ref;
  json["image_digest"] = sandbox.image_digest;
  json["image_cache_hit"] = image_was_present;
  json["policy_hash"] = sandbox.policy_hash;
  json["status"] = ToString(execution.status);
  json["exit_code"] = execution.exit_code;
  json["created_us"] = execution.created_us;
  json["started_us"] = execution.started_us;
  json["finished_us"] = execution.finished_us;
  double total = 0;
  for (const store::Phase& phase : sandbox.phases) {
    // Until it was ready, the phases before it included.
    if (phase.name == "total") {
      json["sandbox_total_ms"] = phase.milliseconds;
      total = phase.milliseconds;
    } else {
      json[phase.name + "_ms"] = phase.milliseconds;
      total += phase.milliseconds;
    }
  }
  for (const store::Phase& phase : execution.phases) {
    json[phase.name + "_ms"] = phase.milliseconds;
    total += phase.milliseconds;
  }
  json["total_ms"] = total;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<void> WriteObservability(const std::string& folder, const std::string& text) {
  CR_TRY(os::MakeDirs(folder));
  return os::ReplaceFile(folder + "/execution-observability.json", text);
}

}  // namespace cleanroom::server
