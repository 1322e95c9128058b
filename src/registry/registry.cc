#include "registry/registry.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/sha256/digest.h"
#include "document/bounded_json.h"

namespace cleanroom::registry {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxExcerptBytes = 200;
constexpr uint64_t kMaxErrorBytes = 64 << 10;  // of the body of a refusal
// Bytes of a blob after which its attempts count from one again: it bounds them by its size.
constexpr uint64_t kProgressThatCounts = 1u << 20;

// Sleeps; false when stopped.
bool Pause(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

Registry::Registry(RegistryOptions options, const ImageRef& ref)
    : options_(std::move(options)),
      ref_(ref),
      server_(ref.registry == kDockerHub ? "registry-1.docker.io" : ref.registry),
      scheme_(fetch::IsLoopbackHost(server_) || options_.plain_http == PlainHttp::kOnly ? "http"
                                                                                        : "https"),
      scheme_known_(!fetch::IsLoopbackHost(server_) || options_.plain_http == PlainHttp::kOnly),
      authenticator_(options_.credentials, ref_),
      http_(options_.http) {}

Registry Registry::Clone() const {
  Registry out(options_, ref_);
  out.scheme_ = scheme_;
  out.scheme_known_ = scheme_known_;
  out.authorization_ = authorization_;
  out.authenticator_ = authenticator_;
  return out;
}

std::string Registry::Url(std::string_view rest) const {
  return fmt::format("{}://{}/v2/{}/{}", scheme_, server_, ref_.repository, rest);
}

// What a server says about a refusal, cut to one short printable line.
std::string Registry::Excerpt(const std::string& body) const {
  std::string out;
  const Json json = document::ParseBoundedJson(body);
  if (json.is_object() && json.contains("errors") && json["errors"].is_array() &&
      !json["errors"].empty()) {
    const Json& error = json["errors"][0];
    if (error.is_object() && error.contains("message") && error["message"].is_string())
      out = error["message"];
  }
  out = authenticator_.Redacted(std::move(out));
  if (out.size() > kMaxExcerptBytes) out.resize(kMaxExcerptBytes);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  }
  return out.empty() ? out : ": " + out;
}

Error Registry::Refusal(ErrorCode code, std::string message, std::string remedy) const {
  return Error(code, std::move(message))
      .About(SubjectKind::kRegistry, server_)
      .Remedy(std::move(remedy));
}

Result<fetch::HttpResponse> Registry::Send(fetch::HttpRequest request, uint64_t max_body_bytes,
                                           const fetch::HttpSink& sink, const std::string& what,
                                           const std::stop_token& stop) {
  const std::string path = request.url;
  auto delay = options_.retry_delay;
  bool authenticated = false;
  for (int attempt = 1;; ++attempt) {
    request.url = Url(path);
    request.authorization = authorization_;
    request.transport =
        scheme_ == "http" ? fetch::Transport::kPlainOnLoopback : fetch::Transport::kHttps;
    Result<fetch::HttpResponse> response = http_.Fetch(request, max_body_bytes, sink, stop);
    const bool last = attempt >= options_.attempts;
    if (response && !scheme_known_) {
      scheme_known_ = true;
      if (response->status == 400 && scheme_ == "http" && response->body.contains("HTTPS")) {
        scheme_ = "https";  // what web servers say to http on a port for TLS
        continue;
      }
    }
    if (!response) {
      const bool retry = IsRetryable(response.error().code()) && !last;
      if (retry && !scheme_known_) {
        // Not an answer in http: it may speak TLS.
        scheme_ = scheme_ == "http" ? "https" : "http";
      } else if (!retry || sink) {
        Error error = std::move(response).error().Context(what);
        if (IsRetryable(error.code()))
          error = std::move(error).Remedy(Reach(fmt::format("{}://{}/v2/", scheme_, server_)));
        return Err(std::move(error).About(SubjectKind::kRegistry, server_));
      }
    } else if (response->status == 200 || response->status == 206) {
      return response;
    } else if (response->status == 401 && !authenticated) {
      authenticated = true;
      Result<Secret> header = authenticator_.Answer(*response, request.transport, http_, stop);
      if (!header) {
        return Err(std::move(header).error().Context(what).About(SubjectKind::kRegistry, server_));
      }
      authorization_ = *std::move(header);
      continue;
    } else {
      const std::string says = fmt::format("the registry answers with status {}{}",
                                           response->status, Excerpt(response->body));
      switch (response->status) {
        case 401:
          return Err(Refusal(ErrorCode::kUnauthenticated,
                             fmt::format("{}: {}{}", what, says, authenticator_.Hint()),
                             authenticator_.Remedy()));
        case 403:
          return Err(Refusal(ErrorCode::kPermissionDenied,
                             fmt::format("{}: {}{}", what, says, authenticator_.Hint()),
                             authenticator_.Remedy()));
        case 404:
          return Err(Refusal(ErrorCode::kNotFound, fmt::format("{}: {}", what, says),
                             "Check the reference: the registry has nothing of that name, tag or "
                             "digest"));
        default:
          break;
      }
      const bool transient = response->status == 429 || response->status >= 500;
      if (!transient || last) {
        return Err(Refusal(
            ErrorCode::kUpstreamError, fmt::format("{}: {}", what, says),
            transient ? "The registry is in trouble: try again later, or ask who runs it"
                      : "Check the reference, and what the registry says about it, with: cleanroom "
                        "image resolve REF"));
      }
    }
    if (!Pause(delay, stop)) return Err(ErrorCode::kCanceled, "the operation was cancelled");
    delay *= 3;
  }
}

Result<fetch::HttpResponse> Registry::SendElsewhere(fetch::HttpRequest request,
                                                    const fetch::HttpSink& sink,
                                                    const std::string& what,
                                                    const std::stop_token& stop) {
  request.transport =
      scheme_ == "http" ? fetch::Transport::kPlainOnLoopback : fetch::Transport::kHttps;
  Result<fetch::HttpResponse> response = http_.Fetch(request, kMaxErrorBytes, sink, stop);
  const std::string where = what + ": the address that its manifest names";
  if (!response) return Err(std::move(response).error().Context(where));
  if (response->status == 200 || response->status == 206) return response;
  const bool transient = response->status == 429 || response->status >= 500;
  return Err(transient ? ErrorCode::kUnavailable : ErrorCode::kUpstreamError,
             fmt::format("{} answers with status {}", where, response->status));
}

Result<Registry::Fetched> Registry::GetManifest(const std::string& reference,
                                                const std::stop_token& stop) {
  fetch::HttpRequest request;
  request.url = "manifests/" + reference;
  request.accept = {"application/vnd.oci.image.index.v1+json",
                    "application/vnd.oci.image.manifest.v1+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json",
                    "application/vnd.docker.distribution.manifest.v2+json"};
  const std::string what = fmt::format("image {}/{}{}{}", ref_.registry, ref_.repository,
                                       IsSha256Digest(reference) ? "@" : ":", reference);
  CR_TRY_ASSIGN(fetch::HttpResponse response,
                Send(std::move(request), options_.limits.max_manifest_bytes, {}, what, stop));
  Fetched out{.bytes = std::move(response.body), .digest = {}};
  out.digest = DigestOf(out.bytes);
  if (IsSha256Digest(reference) && out.digest != reference) {
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
  uint64_t got_before = 0;
  size_t elsewhere = 0;  // 0: the registry; else the address of that number
  for (int attempt = 1; got < blob.size || attempt == 1; ++attempt) {
    if (got >= got_before + kProgressThatCounts) {
      // A line that breaks now and then is not one that is broken.
      attempt = 1;
      delay = options_.retry_delay;
      got_before = got;
    }
    uint64_t to_skip = got;  // a server that ignores Range sends everything again
    bool sink_failed = false;
    const fetch::HttpSink on_data = [&](int status, std::span<const uint8_t> data) -> Result<void> {
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
      hash.Add(data);
      Result<void> taken = sink(data);
      sink_failed = !taken;
      return taken;
    };
    fetch::HttpRequest request;
    request.url = elsewhere == 0 ? "blobs/" + blob.digest : blob.urls[elsewhere - 1];
    request.range_start = got;
    Result<fetch::HttpResponse> response =
        elsewhere == 0 ? Send(std::move(request), kMaxErrorBytes, on_data, what, stop)
                       : SendElsewhere(std::move(request), on_data, what, stop);
    if (response && got >= blob.size) break;
    if (response) {
      return Err(ErrorCode::kDataCorrupt,
                 fmt::format("{}: the registry sends {} bytes and the manifest says {}", what, got,
                             blob.size));
    }
    const ErrorCode code = response.error().code();
    const bool another_place = elsewhere < blob.urls.size() && code != ErrorCode::kCanceled &&
                               (elsewhere > 0 || code == ErrorCode::kNotFound);
    if (!sink_failed && another_place) {
      ++elsewhere;
      attempt = 0;
      continue;
    }
    if (sink_failed || !IsRetryable(code) || attempt >= options_.attempts) {
      return Err(std::move(response).error());
    }
    if (!Pause(delay, stop)) return Err(ErrorCode::kCanceled, "the operation was cancelled");
    delay *= 3;
  }
  const std::string digest = FinishDigest(hash);
  if (digest != blob.digest) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("{}: the registry sent bytes whose digest is {}", what, digest));
  }
  return {};
}

}  // namespace cleanroom::registry
