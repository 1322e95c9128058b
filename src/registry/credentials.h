// Finds the user's credentials for a registry: in docker's config file and its like, or by asking a
// credential helper.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/image_ref.h"
#include "base/result.h"
#include "registry/docker_config.h"

namespace cleanroom::registry {

struct CredentialOptions {
  // Looked through in order; one that is missing is passed over. docker's config.json and
  // containers' auth.json have one form.
  std::vector<std::filesystem::path> files;
  // For a helper, from its start to its answer; it is killed then.
  std::chrono::milliseconds helper_timeout{10'000};
};

struct FoundCredentials {
  Credentials credentials;  // empty: none are stored
  std::string source;       // where they come from, for messages
};

// The first file that knows the image's registry decides. In one file the entry with the longest
// key that covers the repository counts; a helper named for it (`credHelpers`, else `credsStore`)
// is asked first, with the protocol of docker-credential-helpers: `docker-credential-X get`, the
// server's name on stdin, JSON on stdout. The helper runs with this process's environment.
//
// failed_precondition: a file that cannot be read, a helper that is missing, fails or answers
// nonsense; deadline_exceeded: one that takes too long. What a helper printed is in no message, for
// it may be a secret. Blocks, at most for the helper's timeout.
Result<FoundCredentials> FindCredentials(const CredentialOptions& options, const ImageRef& ref);

}  // namespace cleanroom::registry
