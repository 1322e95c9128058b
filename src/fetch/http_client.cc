#include "fetch/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <mutex>
#include <optional>

namespace cleanroom::fetch {
namespace {

constexpr int kMaxRedirects = 8;
constexpr long kConnectTimeoutSeconds = 15;
// A transfer slower than this for that long is broken.
constexpr long kStallBytesPerSecond = 512;
constexpr long kStallSeconds = 60;
constexpr long kDocumentSeconds = 120;       // for a whole answer without a sink: those are small
constexpr size_t kMaxCertificateFiles = 64;  // of one server
constexpr size_t kMaxChallenges = 8;
constexpr size_t kMaxChallengeBytes = 4096;

std::once_flag global_init;

struct Url {
  std::string scheme, host, port;  // lower-case; the port is explicit
  std::string Server() const { return fmt::format("{}://{}:{}", scheme, host, port); }
  bool SameServer(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

std::optional<Url> SplitUrl(const std::string& text) {
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> handle(curl_url(), curl_url_cleanup);
  if (handle == nullptr || curl_url_set(handle.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
    return {};
  const auto part = [&](CURLUPart what, unsigned flags) {
    char* value = nullptr;
    std::string out;
    if (curl_url_get(handle.get(), what, &value, flags) == CURLUE_OK && value != nullptr)
      out = value;
    curl_free(value);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
    return out;
  };
  if (!part(CURLUPART_USER, 0).empty()) return {};
  return Url{part(CURLUPART_SCHEME, 0), part(CURLUPART_HOST, 0),
             part(CURLUPART_PORT, CURLU_DEFAULT_PORT)};
}

// The files HOST[:PORT]/*.crt, sorted, so that messages do not depend on the folder's order.
std::vector<std::filesystem::path> CertificatesOf(
    const Url& url, const std::vector<std::filesystem::path>& folders) {
  std::vector<std::filesystem::path> out;
  std::vector<std::string> names = {fmt::format("{}:{}", url.host, url.port)};
  if (url.port == "443") names.push_back(url.host);
  for (const std::filesystem::path& folder : folders) {
    for (const std::string& name : names) {
      std::error_code error;
      for (std::filesystem::directory_iterator it(folder / name, error), end; !error && it != end;
           it.increment(error)) {
        if (it->path().extension() == ".crt" && out.size() < kMaxCertificateFiles)
          out.push_back(it->path());
      }
    }
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace

std::string UrlEncode(std::string_view text) {
  // curl takes a length of 0 for "up to the NUL".
  if (text.empty()) return {};
  const std::unique_ptr<char, decltype(&curl_free)> escaped(
      curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), curl_free);
  return escaped == nullptr ? std::string() : std::string(escaped.get());
}

bool IsLoopbackHost(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t close = host.find(']');
    return close != std::string_view::npos && host.substr(0, close + 1) == "[::1]" &&
           (close + 1 == host.size() || host[close + 1] == ':');
  }
  host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  // 127.a.b.c and nothing else that begins so: "127.0.0.1.example" is a name of the outside world.
  if (!host.starts_with("127.") || std::ranges::count(host, '.') != 3) return false;
  return std::ranges::all_of(host, [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
}

struct HttpClient::Impl {
  CURL* curl = nullptr;
  HttpOptions options;
  // Of the running transfer:
  HttpResponse* response = nullptr;
  const HttpSink* sink = nullptr;
  const std::stop_token* stop = nullptr;
  uint64_t max_body_bytes = 0;
  std::string location;
  std::vector<std::filesystem::path> certificates;
  std::optional<Error> failure;

  ~Impl() {
    if (curl != nullptr) curl_easy_cleanup(curl);
  }

  static size_t OnHeader(char* data, size_t size, size_t count, void* self_pointer) {
    auto* self = static_cast<Impl*>(self_pointer);
    std::string_view line(data, size * count);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {  // a new answer: forget an interim one
      self->response->www_authenticate.clear();
      self->location.clear();
      return size * count;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return size * count;
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    if (name == "www-authenticate" && self->response->www_authenticate.size() < kMaxChallenges &&
        value.size() <= kMaxChallengeBytes) {
      self->response->www_authenticate.emplace_back(value);
    } else if (name == "location") {
      self->location = value;
    }
    return size * count;
  }

  static size_t OnBody(char* data, size_t size, size_t count, void* self_pointer) {
    auto* self = static_cast<Impl*>(self_pointer);
    const size_t bytes = size * count;
    long status = 0;
    curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &status);
    if (*self->sink && (status == 200 || status == 206)) {
      Result<void> taken =
          (*self->sink)(static_cast<int>(status), {reinterpret_cast<const uint8_t*>(data), bytes});
      if (taken) return bytes;
      self->failure = std::move(taken).error();
      return CURL_WRITEFUNC_ERROR;
    }
    if (self->response->body.size() + bytes > self->max_body_bytes) {
      if (status >= 300) return bytes;  // the rest of an error page says nothing
      self->failure =
          Error(ErrorCode::kResourceExhausted,
                fmt::format("the answer is larger than {} bytes", self->max_body_bytes));
      return CURL_WRITEFUNC_ERROR;
    }
    self->response->body.append(data, bytes);
    return bytes;
  }

  static int OnProgress(void* self_pointer, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Impl*>(self_pointer)->stop->stop_requested() ? 1 : 0;
  }

  // Adds the private authorities to the system's.
  static CURLcode OnTlsContext(CURL*, void* context, void* self_pointer) {
    auto* self = static_cast<Impl*>(self_pointer);
    for (const std::filesystem::path& file : self->certificates) {
      X509_STORE* store = SSL_CTX_get_cert_store(static_cast<SSL_CTX*>(context));
      if (X509_STORE_load_file(store, file.c_str()) == 1) continue;
      self->failure = Error(ErrorCode::kFailedPrecondition,
                            fmt::format("{} is not a readable PEM certificate", file.string()));
      return CURLE_SSL_CACERT_BADFILE;
    }
    return CURLE_OK;
  }

  std::string AuthorityPlace(const Url& url) const {
    if (options.certificate_folders.empty()) return {};
    return fmt::format("{}/{}:{}/ca.crt", options.certificate_folders.front().string(), url.host,
                       url.port);
  }

  Result<void> Transfer(const HttpRequest& request, const std::string& text, const Url& url,
                        const Url& first);
  Result<HttpResponse> Perform(const HttpRequest& request, const std::string& text, const Url& url,
                               const Url& first);
};

HttpClient::HttpClient(HttpOptions options) : impl_(std::make_unique<Impl>()) {
  std::call_once(global_init, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  impl_->curl = curl_easy_init();
  impl_->options = std::move(options);
}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;

Result<void> HttpClient::Impl::Transfer(const HttpRequest& request, const std::string& text,
                                        const Url& url, const Url& first) {
  curl_easy_reset(curl);  // keeps live connections
  char error_text[CURL_ERROR_SIZE] = "";
  const bool loopback = IsLoopbackHost(url.host);
  curl_easy_setopt(curl, CURLOPT_URL, text.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, url.scheme.c_str());
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  if (!*sink) curl_easy_setopt(curl, CURLOPT_TIMEOUT, kDocumentSeconds);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "cleanroom");
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_text);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Impl::OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Impl::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &Impl::OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  if (loopback) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  if (url.scheme == "https") {
    certificates = CertificatesOf(url, options.certificate_folders);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, &Impl::OnTlsContext);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, this);
    // A host without the system's authorities can still have private ones.
    char* bundle = nullptr;
    curl_easy_getinfo(curl, CURLINFO_CAINFO, &bundle);
    if (!certificates.empty() && bundle != nullptr && ::access(bundle, R_OK) != 0)
      curl_easy_setopt(curl, CURLOPT_CAINFO, nullptr);
  }

  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(nullptr, curl_slist_free_all);
  const auto add = [&headers](const std::string& line) {
    headers.reset(curl_slist_append(headers.release(), line.c_str()));
  };
  for (const std::string& type : request.accept) add("Accept: " + type);
  if (!request.authorization.empty() && url.SameServer(first))
    add("Authorization: " + request.authorization.Reveal());
  if (request.range_start > 0) add(fmt::format("Range: bytes={}-", request.range_start));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  if (!request.form.empty()) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.form.Reveal().size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.form.Reveal().c_str());
  }

  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  response->status = static_cast<int>(status);
  if (failure) return Err(std::move(*failure));
  if (stop->stop_requested()) return Err(ErrorCode::kCanceled, "the operation was cancelled");
  const char* says = error_text[0] != '\0' ? error_text : curl_easy_strerror(code);
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    const std::string place = AuthorityPlace(url);
    Error error(
        ErrorCode::kFailedPrecondition,
        fmt::format("its certificate is not trusted: {}{}{}", says,
                    place.empty() ? "" : "; put the certificate of its authority into ", place));
    if (!place.empty())
      error = std::move(error).Remedy("Put the certificate of its authority into " + place +
                                      " on the daemon's host");
    return Err(std::move(error));
  }
  if (code != CURLE_OK) return Err(ErrorCode::kUnavailable, says);
  return {};
}

Result<HttpResponse> HttpClient::Impl::Perform(const HttpRequest& request, const std::string& text,
                                               const Url& url, const Url& first) {
  HttpResponse out;
  response = &out;
  location.clear();
  certificates.clear();
  failure.reset();
  Result<void> done = Transfer(request, text, url, first);
  response = nullptr;
  if (!done) return Err(std::move(done).error().Context(url.Server()));
  return out;
}

Result<HttpResponse> HttpClient::Fetch(const HttpRequest& request, uint64_t max_body_bytes,
                                       const HttpSink& sink, const std::stop_token& stop) {
  if (impl_->curl == nullptr) return Err(ErrorCode::kInternal, "libcurl did not start");
  impl_->sink = &sink;
  impl_->stop = &stop;
  impl_->max_body_bytes = max_body_bytes;
  const std::optional<Url> first = SplitUrl(request.url);
  std::string text = request.url;
  bool left_https = false;
  for (int hops = 0; hops <= kMaxRedirects; ++hops) {
    const std::optional<Url> url = SplitUrl(text);
    if (!first || !url)
      return Err(ErrorCode::kFailedPrecondition, "the server names an address that is not usable");
    const bool plain = url->scheme == "http" && !left_https && IsLoopbackHost(url->host) &&
                       request.transport == Transport::kPlainOnLoopback;
    if (url->scheme != "https" && !plain) {
      return Err(
          ErrorCode::kFailedPrecondition,
          fmt::format("refused to fetch {}: only https is spoken, and http to a registry on this "
                      "machine",
                      url->Server()));
    }
    left_https = left_https || url->scheme == "https";
    CR_TRY_ASSIGN(HttpResponse response, impl_->Perform(request, text, *url, *first));
    const bool redirect = response.status == 301 || response.status == 302 ||
                          response.status == 303 || response.status == 307 ||
                          response.status == 308;
    if (!redirect || impl_->location.empty() || !request.form.empty()) return response;
    std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> next(curl_url(), curl_url_cleanup);
    char* absolute = nullptr;
    // Setting a URL over another resolves it as a relative reference.
    if (next == nullptr || curl_url_set(next.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK ||
        curl_url_set(next.get(), CURLUPART_URL, impl_->location.c_str(), 0) != CURLUE_OK ||
        curl_url_get(next.get(), CURLUPART_URL, &absolute, 0) != CURLUE_OK) {
      return Err(ErrorCode::kUpstreamError, "the server redirects to an address that is none");
    }
    text = absolute;
    curl_free(absolute);
  }
  return Err(ErrorCode::kUpstreamError, fmt::format("more than {} redirects", kMaxRedirects));
}

}  // namespace cleanroom::fetch
