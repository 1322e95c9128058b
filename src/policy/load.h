// Reads cleanroom.yaml: from text, from a file, from where a repository keeps it.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "document/diagnostic.h"
#include "policy/policy.h"

namespace cleanroom::policy {

using ParseResult = std::expected<Policy, std::vector<document::Diagnostic>>;

// Reads a cleanroom.yaml. Reports everything that is wrong, in the order of the file.
ParseResult Parse(std::string_view yaml, std::string_view file_name);

// The policy file of a directory: cleanroom.yaml, else .buildkite/cleanroom.yaml.
struct PolicyFile {
  std::string path;
  std::string warning;  // not empty when both exist and the second is ignored
};
// not_found, naming both places, when neither is a regular file.
Result<PolicyFile> FindPolicyFile(const std::string& directory);

// Reads and parses a file. All diagnostics are joined, a line each, into one policy_invalid.
Result<Policy> LoadPolicy(const std::string& path);

}  // namespace cleanroom::policy
