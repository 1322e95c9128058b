// Stands in for a warden, and for the machine monitor that this warden starts (README.md).
//
// Without a jail (`jail_probe TARGETS`) and as a machine it writes its findings to stdout; as a
// warden it reads the targets from FOLDER/targets and writes FOLDER/warden and FOLDER/vmm.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "os/file.h"
#include "tests/jail/probes.h"
#include "vmm/jail.h"
#include "vmm/qemu/qemu_backend.h"
#include "warden/confinement.h"

namespace cleanroom::jail {
namespace {

constexpr size_t kMaxText = 1 << 20;
// On the machine's command line, before the targets.
constexpr std::string_view kMark = "jail-probe:";

int Fail(const Error& error) {
  std::fprintf(stderr, "jail_probe: %s\n", error.ToString().c_str());
  return 1;
}

Result<std::string> AskMachine(const std::string& program, const Targets& targets) {
  const vmm::QemuBackend backend({.binary = program, .root = vmm::kJailRoot});
  vmm::MachineSpec spec;
  spec.sandbox_id = "jail-probe";
  spec.kernel = targets.readable;
  spec.extra_cmdline = fmt::format("{}{}", kMark, ToText(targets));
  CR_TRY_ASSIGN(const auto machine, backend.Start(spec, vmm::Boot{}, {}));
  const os::UniqueFd console = machine->TakeConsole();
  return os::ReadAll(console.get(), kMaxText, "the console");
}

int ActAsWarden(const warden::ConfinementConfig& config, const std::string& program) {
  const auto text = os::ReadFile(config.folder + "/targets", kMaxText);
  if (!text) return Fail(text.error());
  const Targets targets = FromText(*text);
  auto confined = warden::Confine(config);
  if (!confined) return Fail(confined.error());
  if (const auto problem = confined->problem()) return Fail(*problem);
  const std::string own = ToText(TryAll(targets));
  if (auto written = os::WriteFileAtomic(config.folder + "/warden", own); !written) {
    return Fail(written.error());
  }
  const auto machines = AskMachine(program, targets);
  if (!machines) return Fail(machines.error());
  auto written = os::WriteFileAtomic(config.folder + "/vmm", *machines);
  return written ? 0 : Fail(written.error());
}

int Say(const Targets& targets) {
  std::fputs(ToText(TryAll(targets)).c_str(), stdout);
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  warden::ConfinementConfig config;
  for (size_t i = 1; i + 1 < arguments.size(); ++i) {
    const std::string& value = arguments[i + 1];
    if (arguments[i] == "--dir") config.folder = value;
    if (arguments[i] == "--read") config.readable.push_back(value);
    if (arguments[i] == "--write") config.writable.push_back(value);
    if (arguments[i] == "--user") config.user = static_cast<uid_t>(std::stoul(value));
    if (arguments[i] == "-append") {
      return Say(FromText(value.substr(value.find(kMark) + kMark.size())));
    }
  }
  if (!config.folder.empty()) return ActAsWarden(config, arguments[0]);
  return Say(FromText(arguments.back()));
}

}  // namespace
}  // namespace cleanroom::jail

int main(int argc, char** argv) {
  return cleanroom::jail::Main(std::vector<std::string>(argv, argv + argc));
}
