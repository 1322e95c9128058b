// The file in which `docker login`, `skopeo login` and `podman login` keep what they were told:
// docker's config.json, containers' auth.json (containers-auth.json(5)). Pure parsing; the bytes
// are the user's, and are checked all the same.
//
// At most 1 MiB, 4096 entries in each map, 64 KiB in one string. What is not about registries is
// not looked at.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace cleanroom::registry {

inline constexpr uint64_t kMaxDockerConfigBytes = 1u << 20;

// What may be shown to a registry or to its token server. Any of the fields may be empty.
struct Credentials {
  std::string username;
  Secret password;
  Secret identity_token;  // an OAuth2 refresh token, for the token server
  Secret registry_token;  // a bearer token for the registry itself

  bool empty() const {
    return username.empty() && password.empty() && identity_token.empty() && registry_token.empty();
  }
};

struct DockerConfig {
  std::map<std::string, Credentials> auths;         // by key as written: a host, host/path or URL
  std::map<std::string, std::string> cred_helpers;  // by key: X of docker-credential-X
  std::string creds_store;                          // the same, for all other hosts; may be empty
};

// failed_precondition, naming the entry at fault and never its value.
Result<DockerConfig> ParseDockerConfig(std::string_view json);

// What a credential helper's `get` prints. data_corrupt when it is something else. An empty answer
// is one without credentials.
Result<Credentials> ParseHelperAnswer(std::string_view json);

// Whether a key of `auths` or `credHelpers` speaks of `host` ("registry.example:5000"), or of a
// path of it that `repository` lies in: how many bytes of "host/repository" it covers, 0 for none.
// The longest wins. docker.io has several names.
size_t KeyCovers(std::string_view key, std::string_view host, std::string_view repository);

}  // namespace cleanroom::registry
