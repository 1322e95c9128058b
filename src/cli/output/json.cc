#include "cli/output/json.h"

#include <nlohmann/json.hpp>

#include "cli/output/proto_time.h"
#include "cli/output/text.h"
#include "client/names.h"
#include "document/bounded_json.h"

namespace cleanroom::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void SetTime(Json& json, const char* name, bool present, const google::protobuf::Timestamp& time) {
  if (present) json[name] = Timestamp(FromProto(time));
}

Json Phases(const google::protobuf::RepeatedPtrField<v1::Phase>& phases) {
  Json out = Json::object();
  for (const v1::Phase& phase : phases) out[phase.name() + "_ms"] = phase.milliseconds();
  return out;
}

Json Of(const v1::RepositoryCheckout& checkout) {
  Json json;
  json["remote_url"] = checkout.remote_url();
  json["commit_sha"] = checkout.commit_sha();
  json["branch"] = checkout.branch().empty() ? Json(nullptr) : Json(checkout.branch());
  json["destination_dir"] = checkout.destination_dir();
  return json;
}

Json Of(const v1::Sandbox& sandbox) {
  Json json;
  json["sandbox_id"] = sandbox.sandbox_id();
  json["status"] = client::ShortName(sandbox.status());
  json["backend"] = sandbox.backend();
  json["accelerator"] = sandbox.accelerator();
  json["policy_hash"] = sandbox.policy_hash();
  json["image_ref"] = sandbox.image_ref();
  json["image_digest"] = sandbox.image_digest();
  json["vcpus"] = sandbox.vcpus();
  json["memory_mib"] = sandbox.memory_mib();
  json["keep"] = sandbox.keep();
  if (sandbox.has_repository_checkout())
    json["repository_checkout"] = Of(sandbox.repository_checkout());
  SetTime(json, "created_at", sandbox.has_created_at(), sandbox.created_at());
  SetTime(json, "updated_at", sandbox.has_updated_at(), sandbox.updated_at());
  json["last_execution_id"] = sandbox.last_execution_id();
  json["active_execution_id"] = sandbox.active_execution_id();
  if (!sandbox.reason().empty()) json["reason"] = sandbox.reason();
  if (!sandbox.why().remedy().empty()) json["remedy"] = sandbox.why().remedy();
  if (!sandbox.console_tail().empty()) json["console_tail"] = sandbox.console_tail();
  json["phases"] = Phases(sandbox.phases());
  return json;
}

Json Of(const v1::Execution& execution) {
  Json json;
  json["execution_id"] = execution.execution_id();
  json["sandbox_id"] = execution.sandbox_id();
  json["status"] = client::ShortName(execution.status());
  json["kind"] = client::ShortName(execution.kind());
  json["command"] = Json::array();
  for (const std::string& word : execution.command()) json["command"].push_back(word);
  json["tty"] = execution.tty();
  json["exit_code"] =
      client::HasEnded(execution.status()) ? Json(execution.exit_code()) : Json(nullptr);
  SetTime(json, "started_at", execution.has_started_at(), execution.started_at());
  SetTime(json, "finished_at", execution.has_finished_at(), execution.finished_at());
  json["run_id"] = execution.run_id();
  if (!execution.reason().empty()) json["reason"] = execution.reason();
  json["phases"] = Phases(execution.phases());
  return json;
}

Json Of(const v1::Image& image) {
  Json json;
  json["ref"] = image.ref();
  json["digest"] = image.digest();
  json["size_bytes"] = image.size_bytes();
  json["architecture"] = image.architecture();
  SetTime(json, "created_at", image.has_created_at(), image.created_at());
  SetTime(json, "last_used_at", image.has_last_used_at(), image.last_used_at());
  return json;
}

Json Of(const v1::StoredItem& item) {
  Json json;
  json["kind"] = item.kind();
  json["name"] = item.name();
  json["size_bytes"] = item.size_bytes();
  SetTime(json, "created_at", item.has_created_at(), item.created_at());
  SetTime(json, "last_used_at", item.has_last_used_at(), item.last_used_at());
  json["in_use"] = item.in_use();
  json["reclaimable"] = item.reclaimable();
  return json;
}

template <typename List>
std::string ListOf(const char* name, const List& items) {
  Json json;
  json[name] = Json::array();
  for (const auto& item : items) json[name].push_back(Of(item));
  return Dump(json);
}

}  // namespace

std::string ToJson(const v1::Sandbox& sandbox) { return Dump(Of(sandbox)); }
std::string ToJson(const v1::ListSandboxesResponse& list) {
  return ListOf("sandboxes", list.sandboxes());
}
std::string ToJson(const v1::Execution& execution) { return Dump(Of(execution)); }
std::string ToJson(const v1::ListExecutionsResponse& list) {
  return ListOf("executions", list.executions());
}
std::string ToJson(const v1::Image& image) { return Dump(Of(image)); }
std::string ToJson(const v1::ListImagesResponse& list) { return ListOf("images", list.images()); }

std::string ToJson(const v1::DoctorResponse& doctor) {
  Json json;
  json["default_backend"] = doctor.default_backend();
  json["accelerator"] = doctor.accelerator();
  // A protobuf map has no order; std::map gives one.
  std::map<std::string, std::map<std::string, bool>> capabilities;
  for (const auto& [backend, values] : doctor.capabilities()) {
    capabilities[backend].insert(values.values().begin(), values.values().end());
  }
  json["capabilities"] = capabilities;
  if (capabilities.empty()) json["capabilities"] = Json::object();
  json["checks"] = Json::array();
  for (const v1::DoctorCheck& check : doctor.checks()) {
    json["checks"].push_back({{"name", check.name()},
                              {"status", check.status()},
                              {"message", check.message()},
                              {"remedy", check.remedy()}});
  }
  return Dump(json);
}

std::string ToJson(const v1::Template& ready) {
  Json json;
  json["key"] = ready.key();
  json["image_ref"] = ready.image_ref();
  json["size_bytes"] = ready.size_bytes();
  json["milliseconds"] = ready.milliseconds();
  json["was_present"] = ready.was_present();
  return Dump(json);
}

std::string ToJson(const v1::DiskUsageResponse& usage) {
  Json json;
  json["items"] = Json::array();
  int64_t size = 0;
  int64_t reclaimable = 0;
  for (const v1::StoredItem& item : usage.items()) {
    json["items"].push_back(Of(item));
    size += item.size_bytes();
    if (item.reclaimable()) reclaimable += item.size_bytes();
  }
  json["size_bytes"] = size;
  json["reclaimable_bytes"] = reclaimable;
  return Dump(json);
}

std::string ToJson(const v1::PruneRequest& request, const v1::PruneResponse& pruned) {
  Json json;
  json["dry_run"] = request.dry_run();
  json["items"] = Json::array();
  for (const v1::StoredItem& item : pruned.items()) json["items"].push_back(Of(item));
  json["freed_bytes"] = pruned.freed_bytes();
  json["failures"] = Json::array();
  for (const std::string& failure : pruned.failures()) json["failures"].push_back(failure);
  return Dump(json);
}

std::string ToJsonLine(const v1::NetworkDecision& decision) {
  Json json;
  if (decision.missed() > 0) {
    json["missed"] = decision.missed();
  } else {
    SetTime(json, "time", decision.has_time(), decision.time());
    json["service"] = decision.service();
    json["protocol"] = decision.protocol();
    json["destination"] = decision.destination();
    if (!decision.address().empty()) json["address"] = decision.address();
    json["port"] = decision.port();
    json["action"] = decision.allowed() ? "allow" : "deny";
    json["reason_code"] = decision.reason_code();
    json["count"] = decision.count();
    if (decision.more() > 0) json["distinct"] = decision.more();
    if (decision.policy_line() > 0) json["policy_line"] = decision.policy_line();
    if (!decision.suggestion().empty()) json["suggestion"] = decision.suggestion();
    if (!decision.execution_id().empty()) json["execution_id"] = decision.execution_id();
    json["message"] = decision.message();
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ValidPolicyJson(const std::string& source, const std::string& hash,
                            const std::string& canonical_json) {
  Json json;
  json["valid"] = true;
  json["source"] = source;
  json["hash"] = hash;
  json["policy"] = document::ParseBoundedJson(canonical_json);
  return Dump(json);
}

std::string InvalidPolicyJson(const std::string& source,
                              const std::vector<document::Diagnostic>& errors) {
  Json json;
  json["valid"] = false;
  json["source"] = source;
  json["errors"] = Json::array();
  for (const document::Diagnostic& error : errors) {
    json["errors"].push_back({{"file", error.file},
                              {"line", error.line},
                              {"column", error.column},
                              {"message", error.message}});
  }
  return Dump(json);
}

}  // namespace cleanroom::cli
