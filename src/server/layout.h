// Layout: where the control plane keeps its files.
//
//   STATE/lock                          held by the one daemon of this state folder
//   STATE/records.db                    see store/
//   STATE/sandboxes/ID/                 one live sandbox: warden.sock, warden.log, disk, and
//                                       executions/EXECUTION.log
//   STATE/executions/EXECUTION.log      output of executions whose sandbox is gone
//   STATE/executions/EXECUTION/         execution-observability.json
//   STATE/templates/                    saved machines, see vmm/template_store.h
//   STATE/mirrors/, STATE/bundles/      repositories, see git/mirror_store.h, repository/bundle_store.h
//   STATE/audit/                        network decisions of all sandboxes, see audit_log.h
#pragma once

#include <filesystem>
#include <string>

#include "base/id.h"

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
  std::string Sandbox(const SandboxId& id) const { return state_ / "sandboxes" / id.text(); }
  std::string WardenSocket(const SandboxId& id) const {
    return state_ / "sandboxes" / id.text() / "warden.sock";
  }
  // Where forks of a held machine are asked for.
  std::string ForkSocket(const SandboxId& id) const {
    return state_ / "sandboxes" / id.text() / "forks.sock";
  }
  std::string Disk(const SandboxId& id) const {
    return state_ / "sandboxes" / id.text() / "disk.img";
  }
  // The RAM of a machine that is to become a template: an empty file, which only such a sandbox
  // has.
  std::string TemplateMemory(const SandboxId& id) const {
    return state_ / "sandboxes" / id.text() / "memory";
  }
  // Written by the warden while the sandbox lives.
  std::string LiveOutput(const SandboxId& sandbox, const ExecutionId& execution) const {
    return state_ / "sandboxes" / sandbox.text() / "executions" / (execution.text() + ".log");
  }
  std::string LiveOutputs(const SandboxId& sandbox) const {
    return state_ / "sandboxes" / sandbox.text() / "executions";
  }
  std::string KeptOutput(const ExecutionId& execution) const {
    return state_ / "executions" / (execution.text() + ".log");
  }
  std::string Observability(const ExecutionId& execution) const {
    return state_ / "executions" / execution.text();
  }

 private:
  std::filesystem::path state_;
};

}  // namespace cleanroom::server
