#include "vmm/accelerator.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/sha256/sha256.h"
#include "document/bounded_json.h"
#include "os/file.h"

namespace cleanroom::vmm {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

constexpr size_t kMaxCpuinfo = 16 << 20;
constexpr size_t kMaxVerdict = 64 << 10;
// With auto, for the trial.
constexpr milliseconds kShortTrial{4000};
constexpr const char* kVerdictFile = "accelerator";

// What a trial told.
struct Verdict {
  std::string failure;  // empty: the machine booted
  // What the boot took, or what a machine that did not get there was given; 0: it ended by itself,
  // and time would not have helped.
  milliseconds time{0};

  bool TellsOf(milliseconds limit) const {
    if (failure.empty()) return time <= limit;
    return time == milliseconds(0) || limit <= time;
  }
};

// Nothing when no boot was tried under this key.
std::optional<Verdict> LoadVerdict(const VerdictStore& store) {
  auto text = os::ReadFile(store.path, kMaxVerdict);
  if (!text) return std::nullopt;
  const Json verdict = document::ParseBoundedJson(*text);
  const auto is_text = [&](const char* key) {
    return verdict.is_object() && verdict.contains(key) && verdict[key].is_string();
  };
  if (!is_text("key") || !is_text("failure") || verdict["key"] != store.key) return std::nullopt;
  if (!verdict.contains("ms") || !verdict["ms"].is_number_unsigned()) return std::nullopt;
  return Verdict{.failure = verdict["failure"].get<std::string>(),
                 .time = milliseconds(verdict["ms"].get<uint32_t>())};
}

Verdict Try(const BootProbe& probe, milliseconds limit) {
  const auto booted = probe(limit);
  if (booted) return {.failure = "", .time = *booted};
  const bool silent = booted.error().code() == ErrorCode::kDeadlineExceeded;
  return {.failure = booted.error().message(), .time = silent ? limit : milliseconds(0)};
}

// For everybody, or for a group that is not root's.
bool IsForOthers(int device) {
  struct stat info = {};
  if (fstat(device, &info) != 0) return false;
  constexpr mode_t kEverybody = S_IROTH | S_IWOTH;
  constexpr mode_t kGroup = S_IRGRP | S_IWGRP;
  return (info.st_mode & kEverybody) == kEverybody ||
         ((info.st_mode & kGroup) == kGroup && info.st_gid != 0);
}

}  // namespace

capability::Check CheckAccelerator(AcceleratorChoice choice, const KvmFacts& facts) {
  using capability::Check;
  const auto check = [](Check::Status status, std::string message, std::string remedy) {
    return Check{"accelerator", status, std::move(message), std::move(remedy)};
  };
  if (choice == AcceleratorChoice::kTcg) {
    return check(Check::Status::kOk, "TCG (emulation), which the config asks for", "");
  }
  if (facts.processor && facts.device_problem.empty()) {
    return check(Check::Status::kOk, "KVM, once a test boot under it has succeeded", "");
  }
  const std::string problem =
      facts.processor ? facts.device_problem : "the processor shows neither vmx nor svm";
  const std::string remedy =
      facts.processor ? "load the kvm module and add the user Cleanroom runs as to the group kvm"
                      : "use a host with hardware virtualisation (nested, if it is a VM)";
  if (choice == AcceleratorChoice::kKvm) {
    return check(Check::Status::kFail, "KVM, which the config asks for, cannot be used: " + problem,
                 remedy + "; or set backends.qemu.accel to auto");
  }
  return check(Check::Status::kWarn, "TCG (emulation): " + problem, "for more speed " + remedy);
}

Result<AcceleratorChoice> ParseAcceleratorChoice(std::string_view text) {
  if (text == "auto") return AcceleratorChoice::kAuto;
  if (text == "kvm") return AcceleratorChoice::kKvm;
  if (text == "tcg") return AcceleratorChoice::kTcg;
  return Err(ErrorCode::kInvalidArgument,
             fmt::format("accelerator '{}' is none of auto, kvm, tcg", text));
}

bool ShowsVirtualization(std::string_view cpuinfo) {
  for (size_t at = cpuinfo.find("\nflags"); at != std::string_view::npos;
       at = cpuinfo.find("\nflags", at + 1)) {
    std::string_view line = cpuinfo.substr(at + 1);
    line = line.substr(0, line.find('\n'));
    const std::string padded = std::string(line) + " ";
    if (padded.find(" vmx ") != std::string::npos || padded.find(" svm ") != std::string::npos) {
      return true;
    }
  }
  return false;
}

KvmFacts ReadKvmFacts() {
  KvmFacts facts;
  if (auto cpuinfo = os::ReadFile("/proc/cpuinfo", kMaxCpuinfo); cpuinfo) {
    facts.processor = ShowsVirtualization(*cpuinfo);
  }
  if (auto device = os::Open("/dev/kvm", O_RDWR); !device) {
    facts.device_problem = device.error().message();
  } else if (geteuid() == 0 && !IsForOthers(device->get())) {
    facts.device_problem = "/dev/kvm is for root alone, which sandboxes do not run as";
  }
  return facts;
}

std::string VerdictPath(const std::filesystem::path& state_dir) { return state_dir / kVerdictFile; }

void RemoveVerdictDrafts(const std::filesystem::path& state_dir) {
  const std::string prefix = std::string(kVerdictFile) + ".";
  std::error_code error;
  std::vector<std::filesystem::path> drafts;
  for (std::filesystem::directory_iterator it(state_dir, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().starts_with(prefix)) drafts.push_back(it->path());
  }
  for (const std::filesystem::path& path : drafts) std::filesystem::remove(path, error);
}

Result<std::string> MakeVerdictKey(std::string_view kernel_digest, const std::string& vmm_binary) {
  CR_TRY_ASSIGN(const std::string boot, os::ReadFile("/proc/sys/kernel/random/boot_id", 100));
  struct stat info;
  if (stat(vmm_binary.c_str(), &info) != 0) {
    return ErrErrno(ErrorCode::kBackendUnavailable, vmm_binary);
  }
  const std::string binary = fmt::format("{} {} {}.{}", vmm_binary, info.st_size,
                                         info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  return Sha256OfParts({boot, kernel_digest, binary});
}

milliseconds TrialLimit(AcceleratorChoice choice, milliseconds launch_limit) {
  return choice == AcceleratorChoice::kKvm ? launch_limit : kShortTrial;
}

Result<AcceleratorDecision> ChooseAccelerator(AcceleratorChoice choice, const KvmFacts& facts,
                                              const VerdictStore& store, milliseconds limit,
                                              const BootProbe& probe) {
  if (choice == AcceleratorChoice::kTcg) {
    return AcceleratorDecision{Accelerator::kTcg, "TCG was asked for"};
  }
  std::string problem;
  if (!facts.processor) {
    problem = "the processor shows neither vmx nor svm, so no hardware virtualisation can be used";
  } else if (!facts.device_problem.empty()) {
    problem = facts.device_problem + "; the user Cleanroom runs as needs access (group kvm)";
  } else {
    std::optional<Verdict> verdict = LoadVerdict(store);
    if (!verdict || !verdict->TellsOf(limit)) {
      verdict = Try(probe, limit);
      const Json json = {
          {"key", store.key}, {"failure", verdict->failure}, {"ms", verdict->time.count()}};
      CR_TRY(os::WriteFileAtomic(store.path,
                                 json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"));
    }
    if (verdict->failure.empty()) {
      return AcceleratorDecision{Accelerator::kKvm, "a guest booted under KVM"};
    }
    problem = "a test boot under KVM failed: " + verdict->failure;
  }
  if (choice == AcceleratorChoice::kKvm) {
    return Err(
        ErrorCode::kBackendUnavailable,
        fmt::format("accelerator kvm cannot be used here: {}; set accel to auto or tcg", problem));
  }
  return AcceleratorDecision{Accelerator::kTcg, "TCG (emulation), because " + problem};
}

}  // namespace cleanroom::vmm
