// Layout: where the control plane keeps its files.
//
//   STATE/lock                          held by the one daemon of this state folder
//   STATE/records.db                    see store/
//   STATE/sandboxes/ID/                 one live sandbox: warden.sock, warden.log, disk, and
//                                       executions/EXECUTION.log
//   STATE/executions/EXECUTION.log      output of executions whose sandbox is gone
//   STATE/executions/EXECUTION/         execution-observability.json
//   STATE/templates/                    saved machines, see vmm/template_store.h
//   STATE/audit/                        network decisions of all sandboxes, see audit_log.h
#pragma once

#include <filesystem>
#include <string>

namespace cleanroom::server {

class Layout {
 public:
  explicit Layout(std::filesystem::path state) : state_(std::move(state)) {}

  std::string Lock() const { return state_ / "lock"; }
  std::string Records() const { return state_ / "records.db"; }
  std::string Sandboxes() const { return state_ / "sandboxes"; }
  std::string Templates() const { return state_ / "templates"; }
  std::string Audit() const { return state_ / "audit"; }
  std::string Executions() const { return state_ / "executions"; }

  // Ids are checked (CheckId) before they come here.
  std::string Sandbox(const std::string& id) const { return state_ / "sandboxes" / id; }
  std::string WardenSocket(const std::string& id) const {
    return state_ / "sandboxes" / id / "warden.sock";
  }
  // Where forks of a held machine are asked for.
  std::string ForkSocket(const std::string& id) const {
    return state_ / "sandboxes" / id / "forks.sock";
  }
  std::string Disk(const std::string& id) const { return state_ / "sandboxes" / id / "disk.img"; }
  // The RAM of a machine that is to become a template: an empty file, which only such a sandbox
  // has.
  std::string TemplateMemory(const std::string& id) const {
    return state_ / "sandboxes" / id / "memory";
  }
  // Written by the warden while the sandbox lives.
  std::string LiveOutput(const std::string& sandbox, const std::string& execution) const {
    return state_ / "sandboxes" / sandbox / "executions" / (execution + ".log");
  }
  std::string LiveOutputs(const std::string& sandbox) const {
    return state_ / "sandboxes" / sandbox / "executions";
  }
  std::string KeptOutput(const std::string& execution) const {
    return state_ / "executions" / (execution + ".log");
  }
  std::string Observability(const std::string& execution) const {
    return state_ / "executions" / execution;
  }

 private:
  std::filesystem::path state_;
};

}  // namespace cleanroom::server
