#include "server/system_service.h"

#include <fmt/format.h>

#include "policy/capability.h"
#include "server/admission.h"
#include "vmm/accelerator.h"
#include "vmm/qemu/qemu_backend.h"

namespace cleanroom::server {
namespace {

namespace v1 = ::cleanroom::v1;
using vmm::Check;

std::string Path(std::string_view method) {
  return std::string("/cleanroom.v1.SystemService/").append(method);
}

v1::DoctorCheck ToMessage(const Check& check) {
  v1::DoctorCheck message;
  message.set_name(check.name);
  message.set_status(std::string(vmm::ToString(check.status)));
  message.set_message(check.message);
  message.set_remedy(check.remedy);
  return message;
}

Awaitable<Result<v1::GetVersionResponse>> GetVersion() {
  v1::GetVersionResponse response;
  response.set_version(CLEANROOM_VERSION);
  co_return response;
}

}  // namespace

vmm::Capabilities CapabilitiesOf(const MachineConfig& config) {
  vmm::Capabilities capabilities = vmm::QemuBackend({.binary = config.qemu_binary}).Capabilities();
  capabilities[std::string(policy::capability::kResources)] = true;
  capabilities[std::string(policy::capability::kTtl)] = true;
  return capabilities;
}

std::set<std::string> TrueOnes(const vmm::Capabilities& capabilities) {
  std::set<std::string> names;
  for (const auto& [name, value] : capabilities) {
    if (value) names.insert(name);
  }
  return names;
}

void SystemService::Register(ServiceRegistry& registry) {
  using rpc::CallContext;
  registry.Unary<v1::GetVersionRequest, v1::GetVersionResponse>(
      Path("GetVersion"), [](CallContext&, v1::GetVersionRequest) { return GetVersion(); });
  registry.Unary<v1::DoctorRequest, v1::DoctorResponse>(
      Path("Doctor"), [this](CallContext&, v1::DoctorRequest) { return Doctor(); });
}

Awaitable<Result<v1::DoctorResponse>> SystemService::Doctor() {
  const std::string binary = machines_.config().qemu_binary;
  auto work = [binary] { return vmm::QemuBackend({.binary = binary}).Checks(); };
  const auto checks = co_await pool_.Run(work);
  v1::DoctorResponse response;
  for (const Check& check : checks) *response.add_checks() = ToMessage(check);
  for (const Check& check : OwnChecks()) *response.add_checks() = ToMessage(check);
  for (const auto& [name, value] : CapabilitiesOf(machines_.config())) {
    (*(*response.mutable_capabilities())["qemu"].mutable_values())[name] = value;
  }
  for (const char* backend : {"firecracker", "darwin-vz"}) {
    for (const auto& [name, value] : vmm::NoCapabilities()) {
      (*(*response.mutable_capabilities())[backend].mutable_values())[name] = value;
    }
  }
  response.set_default_backend(default_backend_);
  if (machines_.prepared()) response.set_accelerator(machines_.prepared()->machine.accelerator);
  co_return response;
}

std::vector<Check> SystemService::OwnChecks() const {
  std::vector<Check> checks;
  if (machines_.prepared()) {
    const auto& prepared = *machines_.prepared();
    checks.push_back({"kernel", Check::Status::kOk,
                      fmt::format("guest kernel {}", prepared.kernel_version), ""});
    const bool kvm = prepared.machine.accelerator == "kvm";
    checks.push_back(
        {"accelerator", kvm ? Check::Status::kOk : Check::Status::kWarn,
         fmt::format("{}: {}", prepared.machine.accelerator, prepared.accelerator_reason),
         kvm ? "" : "for speed, use a host with hardware virtualisation"});
  } else {
    checks.push_back({"kernel", Check::Status::kWarn, "the guest kernel is not prepared yet",
                      "the first sandbox prepares it, which may take minutes"});
  }
  auto room = ReadHostRoom(layout_.Sandboxes());
  if (!room) {
    checks.push_back(
        {"room", Check::Status::kFail, room.error().message(), "check the state folder"});
    return checks;
  }
  const auto admitted = Admit(*room, 0, 0);
  checks.push_back({"room", admitted ? Check::Status::kOk : Check::Status::kFail,
                    fmt::format("{} MiB of memory and {} MiB of disk are free", room->memory_mib,
                                room->disk_mib),
                    admitted ? "" : admitted.error().message()});
  return checks;
}

}  // namespace cleanroom::server
