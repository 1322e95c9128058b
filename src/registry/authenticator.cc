#include "registry/authenticator.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text_coding.h"
#include "document/bounded_json.h"

namespace cleanroom::registry {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxTokenBytes = 1u << 20;
constexpr std::string_view kMask = "…";

Secret BasicHeader(const Credentials& credentials) {
  const std::string pair = credentials.username + ":" + credentials.password.Reveal();
  return Secret("Basic " + Base64Encode(pair, Padding::kEquals));
}

// A token from the answer of a token server; nothing when there is none that a header can carry.
std::optional<std::string> TokenOf(const std::string& body) {
  const Json json = document::ParseBoundedJson(body);
  for (const char* key : {"token", "access_token"}) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_string()) continue;
    std::string token = json[key];
    const auto unusable = [](char c) { return c <= 32 || c == 127; };
    if (!token.empty() && std::ranges::none_of(token, unusable)) return token;
  }
  return {};
}

}  // namespace

std::string Reach(std::string_view url) {
  return fmt::format("Check, on the daemon's host, that the registry can be reached: curl -I {}",
                     url);
}

void Authenticator::LookUp() {
  if (!found_) found_ = FindCredentials(options_, ref_);
}

std::string Authenticator::Remedy() const {
  return fmt::format(
      "Give the daemon's user the registry's credentials, as by: docker login {0}, podman login "
      "{0}, skopeo login {0}",
      ref_.registry);
}

std::string Authenticator::Hint() const {
  if (found_ && !*found_) return "; no credentials: " + found_->error().message();
  if (found_ && !(*found_)->credentials.empty())
    return fmt::format("; the credentials are those of {}", (*found_)->source);
  return fmt::format("; log in with `docker login {}` or `skopeo login {}` as the daemon's user",
                     ref_.registry, ref_.registry);
}

std::string Authenticator::Redacted(std::string text) const {
  std::vector<Secret> secrets = {header_};
  if (found_ && *found_) {
    const Credentials& mine = (*found_)->credentials;
    secrets.insert(secrets.end(),
                   {BasicHeader(mine), mine.password, mine.identity_token, mine.registry_token});
  }
  for (const Secret& one : secrets) {
    const std::string secret = one.Reveal().substr(one.Reveal().find(' ') + 1);  // of headers
    if (secret.empty()) continue;
    for (size_t at = 0; (at = text.find(secret, at)) != std::string::npos; at += kMask.size())
      text.replace(at, secret.size(), kMask);
  }
  return text;
}

Result<std::optional<Secret>> Authenticator::AskTokenServer(const Challenge& challenge,
                                                            fetch::Transport transport,
                                                            fetch::HttpClient& http,
                                                            const std::stop_token& stop) {
  const Credentials mine = *found_ ? (*found_)->credentials : Credentials();
  std::string query;
  if (const auto it = challenge.params.find("service"); it != challenge.params.end())
    query = "service=" + fetch::UrlEncode(it->second) + "&";
  query += "scope=" + fetch::UrlEncode("repository:" + ref_.repository + ":pull");

  fetch::HttpRequest request;
  request.url = challenge.params.at("realm");
  request.transport = transport;
  if (!mine.identity_token.empty()) {
    request.form =
        Secret(fmt::format("grant_type=refresh_token&client_id=cleanroom&{}&refresh_token={}",
                           query, fetch::UrlEncode(mine.identity_token.Reveal())));
  } else {
    request.url += (request.url.contains('?') ? '&' : '?') + query;
    if (!mine.username.empty()) request.authorization = BasicHeader(mine);
  }
  Result<fetch::HttpResponse> answer = http.Fetch(request, kMaxTokenBytes, {}, stop);
  if (!answer) {
    Error error = std::move(answer).error().Context("asking for a token");
    if (IsRetryable(error.code()))
      error = std::move(error).Remedy(Reach(challenge.params.at("realm")));
    return Err(std::move(error));
  }
  // RFC 6749 section 5.2: a refresh token that is no longer good is 400.
  const bool refused = answer->status == 401 || answer->status == 403 ||
                       (answer->status == 400 && !mine.identity_token.empty());
  if (refused) return std::optional<Secret>();
  if (answer->status != 200) {
    return Err(ErrorCode::kUpstreamError,
               fmt::format("the token server answers with status {}", answer->status));
  }
  const std::optional<std::string> token = TokenOf(answer->body);
  if (!token) return Err(ErrorCode::kUpstreamError, "the token server's answer has no token");
  return std::optional<Secret>(Secret("Bearer " + *token));
}

Result<Secret> Authenticator::Answer(const fetch::HttpResponse& refusal, fetch::Transport transport,
                                     fetch::HttpClient& http, const std::stop_token& stop) {
  LookUp();
  const Credentials mine = *found_ ? (*found_)->credentials : Credentials();
  for (const std::string& header : refusal.www_authenticate) {
    const std::optional<Challenge> challenge = ParseChallenge(header);
    if (!challenge) continue;
    if (challenge->scheme == "basic" && !mine.username.empty()) {
      header_ = BasicHeader(mine);
      return header_;
    }
    if (challenge->scheme != "bearer") continue;
    if (!mine.registry_token.empty()) {
      header_ = Secret("Bearer " + mine.registry_token.Reveal());
      return header_;
    }
    if (!challenge->params.contains("realm")) continue;
    CR_TRY_ASSIGN(std::optional<Secret> token, AskTokenServer(*challenge, transport, http, stop));
    if (!token) {
      return Err(Error(ErrorCode::kUnauthenticated,
                       fmt::format("the token server of {} gives no token for {}{}", ref_.registry,
                                   ref_.repository, Hint()))
                     .Remedy(Remedy()));
    }
    header_ = *std::move(token);
    return header_;
  }
  return Err(
      Error(ErrorCode::kUnauthenticated, fmt::format("the registry {} wants credentials for {}{}",
                                                     ref_.registry, ref_.repository, Hint()))
          .Remedy(Remedy()));
}

}  // namespace cleanroom::registry
