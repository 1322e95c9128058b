// A git that runs: its output as a source of bytes, its complaints kept.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "archive/byte_source.h"
#include "git/command.h"
#include "os/process.h"

namespace cleanroom::git {

enum class Kind : uint8_t { kLocal, kUpstream };

// Whether local runs get namespaces of their own on this host. Known after the first.
bool LocalRunsAreConfined();

// Used by one thread.
class Running : public archive::ByteSource {
 public:
  static Result<std::unique_ptr<Running>> Start(const GitConfig& config, Kind kind,
                                                const Command& command, const Control& control);
  ~Running() override;  // kills what still runs

  // Its stdout. 0 when it has closed that; whether it succeeded is Finish's to say.
  Result<size_t> Read(std::span<uint8_t> buffer) override;
  // Waits for its end.
  Result<os::ExitStatus> Finish();
  // Printable, the last 4 KiB.
  std::string Complaint() const;

 private:
  Running(os::Process process, os::UniqueFd out, os::UniqueFd err, std::chrono::seconds timeout,
          Control control);
  Result<void> WaitForSomething(bool want_output);
  void DrainErrors();
  void Kill();

  os::Process process_;
  os::UniqueFd out_, err_;
  std::chrono::steady_clock::time_point deadline_;
  std::chrono::seconds timeout_;
  Control control_;
  std::string complaint_;
  std::string line_;       // of its progress, not yet whole
  bool returned_ = false;  // the last byte was a carriage return
};

}  // namespace cleanroom::git
