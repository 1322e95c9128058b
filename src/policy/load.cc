#include "policy/load.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "document/document.h"
#include "document/fields.h"
#include "policy/decode.h"

namespace cleanroom::policy {

ParseResult Parse(std::string_view yaml, std::string_view file_name) {
  document::ReadResult document = document::ReadYaml(yaml, file_name);
  if (!document) return std::unexpected(std::move(document).error());
  document::Report report(file_name);
  Policy policy = DecodePolicy(*document, Dialect::kFile, report);
  if (!report.empty()) return std::unexpected(std::move(report).Take());
  return policy;
}

Result<PolicyFile> FindPolicyFile(const std::string& directory) {
  const std::filesystem::path root(directory);
  const std::string first = (root / "cleanroom.yaml").string();
  const std::string second = (root / ".buildkite" / "cleanroom.yaml").string();
  std::error_code ignored;
  const bool has_first = std::filesystem::is_regular_file(first, ignored);
  const bool has_second = std::filesystem::is_regular_file(second, ignored);
  if (has_first && has_second) {
    return PolicyFile{first, fmt::format("using {}; {} is ignored", first, second)};
  }
  if (has_first) return PolicyFile{first, ""};
  if (has_second) return PolicyFile{second, ""};
  return Err(
      Error(ErrorCode::kNotFound, fmt::format("no policy: neither {} nor {} exists", first, second))
          .About(SubjectKind::kPolicy, first));
}

Result<Policy> LoadPolicy(const std::string& path) {
  CR_TRY_ASSIGN(const std::string text, document::ReadDocumentFile(path));
  ParseResult parsed = Parse(text, path);
  if (parsed) return *std::move(parsed);
  return Err(ErrorCode::kPolicyInvalid, document::Format(parsed.error()));
}

}  // namespace cleanroom::policy
