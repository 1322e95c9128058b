#include "image/registry.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "image/challenge.h"
#include "image/digest.h"
#include "image/file.h"

namespace cleanroom::image {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxTokenBytes = 1u << 20;
constexpr uint64_t kMaxDockerConfigBytes = 4u << 20;

// Sleeps; false when stopped.
bool Pause(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

std::string UrlEncode(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

// "user:password" in base64 as docker's config.json stores it for `host`; nothing when there is
// none.
std::string StoredCredentials(const std::string& file, const std::string& host) {
  if (file.empty()) return {};
  const Result<std::string> text = ReadWholeFile(file, kMaxDockerConfigBytes);
  if (!text) return {};
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("auths") || !json["auths"].is_object()) return {};
  const Json& auths = json["auths"];
  for (const std::string& key :
       {host, "https://" + host,
        std::string(host == "docker.io" ? "https://index.docker.io/v1/" : "")}) {
    const auto it = auths.find(key);
    if (it == auths.end() || !it->is_object()) continue;
    const auto auth = it->find("auth");
    if (auth != it->end() && auth->is_string()) return auth->get<std::string>();
  }
  return {};
}

// What a server says about a refusal, cut to one short printable line.
std::string Excerpt(const std::string& body) {
  std::string out;
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_object() && json.contains("errors") && json["errors"].is_array() &&
      !json["errors"].empty()) {
    const Json& error = json["errors"][0];
    if (error.is_object() && error.contains("message") && error["message"].is_string())
      out = error["message"];
  }
  if (out.size() > 200) out.resize(200);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  }
  return out.empty() ? out : ": " + out;
}

}  // namespace

Registry::Registry(RegistryOptions options, const ImageRef& ref)
    : options_(std::move(options)),
      ref_(ref),
      server_(ref.host == "docker.io" ? "registry-1.docker.io" : ref.host),
      repository_(ref.host == "docker.io" && ref.repository.find('/') == std::string::npos
                      ? "library/" + ref.repository
                      : ref.repository),
      scheme_(IsLoopbackHost(server_) ? "http" : "https"),
      http_(options_.ca_file) {}

Registry Registry::Clone() const {
  Registry out(options_, ref_);
  out.scheme_ = scheme_;
  out.authorization_ = authorization_;
  return out;
}

std::string Registry::Url(std::string_view rest) const {
  return fmt::format("{}://{}/v2/{}/{}", scheme_, server_, repository_, rest);
}

Result<void> Registry::Authenticate(const HttpResponse& refusal, const std::stop_token& stop) {
  const std::string stored = StoredCredentials(options_.docker_config_file, ref_.host);
  for (const std::string& header : refusal.www_authenticate) {
    const std::optional<Challenge> challenge = ParseChallenge(header);
    if (!challenge) continue;
    if (challenge->scheme == "basic" && !stored.empty()) {
      authorization_ = "Basic " + stored;
      return {};
    }
    if (challenge->scheme != "bearer" || !challenge->params.contains("realm")) continue;
    HttpRequest request;
    request.url = challenge->params.at("realm");
    request.url += request.url.find('?') == std::string::npos ? '?' : '&';
    if (const auto it = challenge->params.find("service"); it != challenge->params.end()) {
      request.url += "service=" + UrlEncode(it->second) + "&";
    }
    request.url += "scope=" + UrlEncode("repository:" + repository_ + ":pull");
    if (!stored.empty()) request.authorization = "Basic " + stored;
    Result<HttpResponse> answer = http_.Get(request, kMaxTokenBytes, {}, stop);
    if (!answer) return Err(std::move(answer).error().Context("asking for a token"));
    if (answer->status == 401 || answer->status == 403) break;
    if (answer->status != 200) {
      return Err(ErrorCode::kUpstreamError,
                 fmt::format("the token server answers with status {}", answer->status));
    }
    const Json json = Json::parse(answer->body, nullptr, false);
    for (const char* key : {"token", "access_token"}) {
      if (!json.is_object() || !json.contains(key) || !json[key].is_string()) continue;
      const std::string token = json[key];
      if (token.empty() || token.find_first_of("\r\n") != std::string::npos) break;
      authorization_ = "Bearer " + token;
      return {};
    }
    return Err(ErrorCode::kUpstreamError, "the token server's answer has no token");
  }
  return Err(ErrorCode::kUnauthenticated,
             fmt::format("the registry {} wants credentials for {}{}", ref_.host, ref_.repository,
                         stored.empty() ? "; log in with `docker login` or `skopeo login` first"
                                        : " and refuses the stored ones"));
}

Result<HttpResponse> Registry::Send(HttpRequest request, uint64_t max_body_bytes,
                                    const HttpSink& sink, const std::string& what,
                                    const std::stop_token& stop) {
  const std::string path = request.url;
  auto delay = options_.retry_delay;
  bool authenticated = false;
  for (int attempt = 1;; ++attempt) {
    request.url = Url(path);
    request.authorization = authorization_;
    Result<HttpResponse> response = http_.Get(request, max_body_bytes, sink, stop);
    const bool last = attempt >= options_.attempts;
    if (!response) {
      if (response.error().code() != ErrorCode::kUnavailable || last || sink) {
        return Err(std::move(response).error().Context(what));
      }
    } else if (response->status == 200 || response->status == 206) {
      return response;
    } else if (response->status == 401 && !authenticated) {
      authenticated = true;
      Result<void> done = Authenticate(*response, stop);
      if (!done) return Err(std::move(done).error().Context(what));
      continue;
    } else if (response->status == 400 && scheme_ == "http" && response->body.contains("HTTPS")) {
      scheme_ = "https";  // a TLS server on this machine
      continue;
    } else {
      const std::string says = fmt::format("the registry answers with status {}{}",
                                           response->status, Excerpt(response->body));
      switch (response->status) {
        case 401:
          return Err(ErrorCode::kUnauthenticated, fmt::format("{}: {}", what, says));
        case 403:
          return Err(ErrorCode::kPermissionDenied, fmt::format("{}: {}", what, says));
        case 404:
          return Err(ErrorCode::kNotFound, fmt::format("{}: {}", what, says));
        default:
          break;
      }
      const bool transient = response->status == 429 || response->status >= 500;
      if (!transient || last)
        return Err(ErrorCode::kUpstreamError, fmt::format("{}: {}", what, says));
    }
    if (!Pause(delay, stop)) return Err(ErrorCode::kCanceled, "the image operation was cancelled");
    delay *= 3;
  }
}

Result<Registry::Fetched> Registry::GetManifest(const std::string& reference,
                                                const std::stop_token& stop) {
  HttpRequest request;
  request.url = "manifests/" + reference;
  request.accept = {"application/vnd.oci.image.index.v1+json",
                    "application/vnd.oci.image.manifest.v1+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json",
                    "application/vnd.docker.distribution.manifest.v2+json"};
  const std::string what = fmt::format("image {}/{}{}{}", ref_.host, ref_.repository,
                                       IsDigest(reference) ? "@" : ":", reference);
  CR_TRY_ASSIGN(HttpResponse response,
                Send(std::move(request), options_.limits.max_manifest_bytes, {}, what, stop));
  Fetched out{.bytes = std::move(response.body), .digest = {}};
  out.digest = DigestOf(out.bytes);
  if (IsDigest(reference) && out.digest != reference) {
    return Err(
        ErrorCode::kDataCorrupt,
        fmt::format("{}: the registry sent a manifest whose digest is {}", what, out.digest));
  }
  return out;
}

Result<std::string> Registry::GetSmallBlob(const Descriptor& blob, const std::stop_token& stop) {
  std::string out;
  CR_TRY(GetBlob(
      blob,
      [&out](std::span<const uint8_t> data) -> Result<void> {
        out.append(reinterpret_cast<const char*>(data.data()), data.size());
        return {};
      },
      stop));
  return out;
}

Result<void> Registry::GetBlob(const Descriptor& blob, const BlobSink& sink,
                               const std::stop_token& stop) {
  const std::string what = "blob " + blob.digest;
  Sha256 hash;
  uint64_t got = 0;
  auto delay = options_.retry_delay;
  for (int attempt = 1; got < blob.size || attempt == 1; ++attempt) {
    uint64_t to_skip = got;  // a server that ignores Range sends everything again
    bool sink_failed = false;
    const HttpSink on_data = [&](int status, std::span<const uint8_t> data) -> Result<void> {
      if (status == 206) to_skip = 0;
      const uint64_t skip = std::min<uint64_t>(to_skip, data.size());
      to_skip -= skip;
      data = data.subspan(skip);
      if (data.size() > blob.size - got) {
        sink_failed = true;
        return Err(ErrorCode::kDataCorrupt,
                   fmt::format("the registry sends more than the {} bytes that the manifest says",
                               blob.size));
      }
      got += data.size();
      hash.Update(data);
      Result<void> taken = sink(data);
      sink_failed = !taken;
      return taken;
    };
    HttpRequest request;
    request.url = "blobs/" + blob.digest;
    request.range_start = got;
    Result<HttpResponse> response = Send(std::move(request), 64 << 10, on_data, what, stop);
    if (response && got >= blob.size) break;
    if (response) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("{}: the registry sends {} bytes and the manifest says {}", what, got,
                             blob.size));
    }
    if (sink_failed || response.error().code() != ErrorCode::kUnavailable ||
        attempt >= options_.attempts) {
      return Err(std::move(response).error());
    }
    if (!Pause(delay, stop)) return Err(ErrorCode::kCanceled, "the image operation was cancelled");
    delay *= 3;
  }
  const std::string digest = hash.Finish();
  if (digest != blob.digest) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("{}: the registry sent bytes whose digest is {}", what, digest));
  }
  return {};
}

}  // namespace cleanroom::image
