// Check: one line of `cleanroom doctor`, whoever finds it out.
#pragma once

#include <string>
#include <string_view>

namespace cleanroom::capability {

struct Check {
  enum class Status { kOk, kWarn, kFail };
  std::string name;
  Status status = Status::kOk;
  std::string message;
  std::string remedy;  // what to do about it; empty when ok
};

std::string_view ToString(Check::Status status);  // "ok", "warn", "fail"

}  // namespace cleanroom::capability
