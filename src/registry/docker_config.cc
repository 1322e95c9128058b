#include "registry/docker_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text_coding.h"
#include "document/bounded_json.h"

namespace cleanroom::registry {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxEntries = 4096;
constexpr size_t kMaxEntryBytes = 64 << 10;
constexpr size_t kMaxHelperName = 128;

std::unexpected<Error> Wrong(std::string_view what) {
  return Err(ErrorCode::kFailedPrecondition, std::string(what));
}

// Absent is empty; nothing when it is no string, or one that no header could carry.
std::optional<std::string> Text(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::string();
  if (!it->is_string()) return {};
  auto text = it->get<std::string>();
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; };
  if (text.size() > kMaxEntryBytes || std::ranges::any_of(text, control)) return {};
  return text;
}

// X of docker-credential-X: it becomes a part of a program's name.
bool IsHelperName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxHelperName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

Result<Credentials> ParseAuth(const std::string& key, const Json& entry) {
  const auto wrong = [&key](std::string_view what) {
    return Wrong(fmt::format("auths '{}': {}", key.substr(0, 200), what));
  };
  if (!entry.is_object()) return wrong("it is not an object");
  const auto auth = Text(entry, "auth"), username = Text(entry, "username"),
             password = Text(entry, "password"), identity = Text(entry, "identitytoken"),
             token = Text(entry, "registrytoken");
  if (!auth || !username || !password || !identity || !token)
    return wrong("a value that is no string, is too long or has control characters");
  Credentials out{.username = *username,
                  .password = Secret(*password),
                  .identity_token = Secret(*identity),
                  .registry_token = Secret(*token)};
  if (!auth->empty()) {
    // Padded, as docker wants it.
    const auto pair = auth->size() % 4 == 0 ? Base64Decode(*auth) : std::nullopt;
    const size_t colon = pair ? pair->find(':') : std::string::npos;
    if (colon == std::string::npos || colon == 0)
      return wrong("its auth is not base64 of NAME:PASSWORD");
    out.username = pair->substr(0, colon);
    // docker pads passwords with NULs.
    std::string secret = pair->substr(colon + 1);
    secret.resize(secret.find_last_not_of('\0') + 1);
    out.password = Secret(std::move(secret));
  }
  // docker's way of saying that the password is an identity token.
  if (out.username == "<token>") {
    out.identity_token = std::exchange(out.password, {});
    out.username.clear();
  }
  return out;
}

// "registry.example:5000/team" of "https://Registry.example:5000/team/": the host in lower case.
std::string PlainKey(std::string_view key) {
  const bool url = key.starts_with("https://") || key.starts_with("http://");
  if (url) key.remove_prefix(key.find("//") + 2);
  const size_t slash = std::min(key.find('/'), key.size());
  std::string out(key.substr(0, slash));
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  if (out == "index.docker.io" || out == "registry-1.docker.io") out = "docker.io";
  std::string_view path = key.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  // The path of a URL is that of the API ("/v1/", "/v2/").
  if (url && (path == "/v1" || path == "/v2")) path = {};
  return out.append(path);
}

}  // namespace

size_t KeyCovers(std::string_view key, std::string_view host, std::string_view repository) {
  if (key.empty()) return 0;
  const std::string plain = PlainKey(key), whole = fmt::format("{}/{}", host, repository);
  if (!std::string_view(whole).starts_with(plain)) return 0;
  if (plain.size() < host.size() || (plain.size() < whole.size() && whole[plain.size()] != '/'))
    return 0;
  return plain.size();
}

Result<DockerConfig> ParseDockerConfig(std::string_view text) {
  if (text.size() > kMaxDockerConfigBytes)
    return Wrong(fmt::format("it is larger than {} bytes", kMaxDockerConfigBytes));
  const Json json = document::ParseBoundedJson(text);
  if (!json.is_object()) return Wrong("it is not a JSON object");
  DockerConfig out;
  if (const auto auths = json.find("auths"); auths != json.end() && !auths->is_null()) {
    if (!auths->is_object() || auths->size() > kMaxEntries)
      return Wrong(fmt::format("auths is not an object of at most {} entries", kMaxEntries));
    for (const auto& [key, entry] : auths->items()) {
      CR_TRY_ASSIGN(out.auths[key], ParseAuth(key, entry));
    }
  }
  if (const auto helpers = json.find("credHelpers"); helpers != json.end() && !helpers->is_null()) {
    if (!helpers->is_object() || helpers->size() > kMaxEntries)
      return Wrong(fmt::format("credHelpers is not an object of at most {} entries", kMaxEntries));
    for (const auto& [key, name] : helpers->items()) {
      if (!name.is_string() || !IsHelperName(name.get<std::string>())) {
        return Wrong(
            fmt::format("credHelpers '{}': not the name of a helper (X of "
                        "docker-credential-X)",
                        key.substr(0, 200)));
      }
      out.cred_helpers[key] = name;
    }
  }
  const std::optional<std::string> store = Text(json, "credsStore");
  if (!store || (!store->empty() && !IsHelperName(*store)))
    return Wrong("credsStore is not the name of a helper (X of docker-credential-X)");
  out.creds_store = *store;
  return out;
}

Result<Credentials> ParseHelperAnswer(std::string_view text) {
  const Json json = text.size() > kMaxDockerConfigBytes ? Json() : document::ParseBoundedJson(text);
  const auto username = json.is_object() ? Text(json, "Username") : std::nullopt;
  const auto secret = json.is_object() ? Text(json, "Secret") : std::nullopt;
  if (!username || !secret)
    return Err(ErrorCode::kDataCorrupt, "its answer is not JSON with Username and Secret");
  Credentials out;
  if (*username == "<token>") {
    out.identity_token = Secret(*secret);
  } else {
    out.username = *username;
    out.password = Secret(*secret);
  }
  return out;
}

}  // namespace cleanroom::registry
