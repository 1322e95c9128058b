// Answers a registry's refusal (401) with what it asks for: HTTP basic authentication (RFC 7617),
// or a bearer token from the token server that it names (Distribution specification, "token
// authentication"; an identity token goes there by the OAuth2 refresh of the same specification).
//
// The user's credentials are looked up at the first refusal, once. When that fails the registry is
// asked without: what failed is told when it still refuses. Credentials go to the registry and to
// the token server that it names, by https; by plain http only when the registry itself is spoken
// to so, on this machine.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"
#include "fetch/http_client.h"
#include "registry/challenge.h"
#include "registry/credentials.h"

namespace cleanroom::registry {

// The remedy for a server that cannot be reached.
std::string Reach(std::string_view url);

class Authenticator {
 public:
  Authenticator(CredentialOptions options, const ImageRef& ref)
      : options_(std::move(options)), ref_(ref) {}

  // The Authorization header to try next. unauthenticated (with its remedy), upstream_error,
  // unavailable, canceled.
  Result<Secret> Answer(const fetch::HttpResponse& refusal, fetch::Transport transport,
                        fetch::HttpClient& http, const std::stop_token& stop);

  // Why the registry may still refuse, to stand behind a message: "; the credentials are those of …".
  std::string Hint() const;
  // What to do about a refusal.
  std::string Remedy() const;

  // `text` without what a server repeats of the credentials that it was sent.
  std::string Redacted(std::string text) const;

 private:
  void LookUp();
  Result<std::optional<Secret>> AskTokenServer(const Challenge& challenge,
                                               fetch::Transport transport, fetch::HttpClient& http,
                                               const std::stop_token& stop);

  CredentialOptions options_;
  ImageRef ref_;
  std::optional<Result<FoundCredentials>> found_;
  Secret header_;  // the last answer
};

}  // namespace cleanroom::registry
