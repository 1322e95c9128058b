// Secret: a credential in memory. It has no way into a log or a message but Reveal(), whose callers
// are few enough to be read.
#pragma once

#include <string>
#include <utility>

namespace cleanroom {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  const std::string& Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string value_;
};

}  // namespace cleanroom
