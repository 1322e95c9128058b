// CompiledPolicy: what a sandbox runs under. Immutable, in one normal form, and identified by its
// hash.
//
// Two policies that mean the same rules in another order or spelling compile to the same bytes. The
// canonical JSON (docs/policy.md) carries a policy over the wire and into records; the hash is the
// SHA-256, in lower-case hexadecimal, of that JSON with an empty `hash`.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/policy.h"

namespace cleanroom::policy {

class CompiledPolicy {
 public:
  // Sorts and de-duplicates, then reads its own canonical JSON back, so that a policy built by hand
  // meets every rule that a file does: policy_invalid otherwise, or when the JSON exceeds
  // kMaxDocumentBytes.
  static Result<CompiledPolicy> Compile(Policy policy);

  // For bytes from the wire or a record. policy_invalid unless they are exactly what
  // CanonicalJson() of some policy gives, hash included. Lines are unknown (0).
  static Result<CompiledPolicy> FromCanonicalJson(std::string_view json);

  const Policy& spec() const { return spec_; }
  const std::string& CanonicalJson() const { return canonical_json_; }
  const std::string& hash() const { return hash_; }

  // The same policy with another image, which must be pinned (`--image` beside a policy file).
  Result<CompiledPolicy> WithImage(const ImageRef& image) const;

  // Equal when the canonical JSON is.
  bool operator==(const CompiledPolicy& other) const {
    return canonical_json_ == other.canonical_json_;
  }

 private:
  CompiledPolicy(Policy spec, std::string canonical_json, std::string hash)
      : spec_(std::move(spec)),
        canonical_json_(std::move(canonical_json)),
        hash_(std::move(hash)) {}

  Policy spec_;
  std::string canonical_json_;
  std::string hash_;
};

// Parses and compiles a file. Every diagnostic, a line each, is in the message of the
// policy_invalid.
Result<CompiledPolicy> LoadAndCompile(const std::string& path);

// Policies without a file
// ---------------------------------------------------------------------------------

struct AllowedHost {
  std::string host;        // as in `host:` of a rule
  std::vector<int> ports;  // empty for 80 and 443
};

// Denies everything but `rules`. `digest` may be empty when `ref` carries it; both must agree.
Result<CompiledPolicy> PolicyFromAllowlist(std::string_view ref, std::string_view digest,
                                           std::span<const AllowedHost> rules);

// `--image REF` alone: `ref` must be pinned. kAllow is --dangerously-allow-all.
enum class Docker { kNotRequired, kRequired };
Result<CompiledPolicy> PolicyForImage(std::string_view ref,
                                      NetworkDefault network = NetworkDefault::kDeny,
                                      Docker docker = Docker::kNotRequired);

}  // namespace cleanroom::policy
