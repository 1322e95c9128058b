// Client of one repository in a registry that speaks the OCI Distribution specification v1 (which
// is Docker's registry API v2): manifests and blobs, anonymous or with the user's stored
// credentials.
//
// Nothing that comes back is believed: documents and blobs are checked against their digests and
// sizes. Errors: not_found (no such image), unauthenticated, permission_denied, upstream_error (the
// server failed or answered nonsense), unavailable (no connection, after retries), data_corrupt
// (digest or size does not match), resource_exhausted (over a limit), canceled. One thread at a
// time; Clone() makes another for another thread.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>

#include "base/image_ref.h"
#include "base/result.h"
#include "base/secret.h"
#include "fetch/http_client.h"
#include "registry/authenticator.h"
#include "registry/limits.h"
#include "registry/manifest.h"

namespace cleanroom::registry {

enum class PlainHttp {
  kAuto,  // https; a registry on this machine is first spoken to by http, and by https when it
          // wants
  kOnly,  // http, which only a registry on this machine gets: failed_precondition for others
};

struct RegistryOptions {
  CredentialOptions credentials = {};
  fetch::HttpOptions http = {};
  PlainHttp plain_http = PlainHttp::kAuto;
  int attempts = 4;  // for 429, 5xx and broken connections, in a row without a byte
  std::chrono::milliseconds retry_delay{200};  // before the second attempt; it triples each time
  Limits limits = {};
};

class Registry {
 public:
  Registry(RegistryOptions options, const ImageRef& ref);
  Registry Clone() const;

  struct Fetched {
    std::string bytes;
    std::string digest;  // of the bytes
  };
  // `reference` is a tag or a digest; bytes fetched by digest match it.
  Result<Fetched> GetManifest(const std::string& reference, const std::stop_token& stop);

  // A small blob, whole.
  Result<std::string> GetSmallBlob(const Descriptor& blob, const std::stop_token& stop);

  // Streams a blob into `sink`, in order, each byte once: after a broken connection it goes on
  // where it stopped. A foreign layer that the registry does not have comes from its own addresses,
  // which are https and get no credentials. An error after the last byte (data_corrupt) means that
  // what the sink got is not the blob.
  using BlobSink = std::function<Result<void>(std::span<const uint8_t>)>;
  Result<void> GetBlob(const Descriptor& blob, const BlobSink& sink, const std::stop_token& stop);

 private:
  // Sends with authentication and retries; the answer has status 200 or 206. A request with a sink
  // is not sent again once it has failed.
  Result<fetch::HttpResponse> Send(fetch::HttpRequest request, uint64_t max_body_bytes,
                                   const fetch::HttpSink& sink, const std::string& what,
                                   const std::stop_token& stop);
  Result<fetch::HttpResponse> SendElsewhere(fetch::HttpRequest request, const fetch::HttpSink& sink,
                                            const std::string& what, const std::stop_token& stop);
  // The error of an answer: about this registry.
  Error Refusal(ErrorCode code, std::string message, std::string remedy) const;
  std::string Excerpt(const std::string& body) const;
  std::string Url(std::string_view rest) const;

  RegistryOptions options_;
  ImageRef ref_;
  std::string server_;  // host and port to speak to
  std::string scheme_;
  bool scheme_known_;     // by an answer, or because there is no choice
  Secret authorization_;  // empty until the registry asks
  Authenticator authenticator_;
  fetch::HttpClient http_;
};

}  // namespace cleanroom::registry
