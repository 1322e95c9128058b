// HTTP client of registries: one request at a time, on libcurl, blocking.
//
// https only, with certificates checked, except that a request may allow plain http to loopback
// addresses. Redirects are followed by this class itself: never from https to http, and the
// Authorization header never goes to another host. No answer may come slower than 512 bytes a
// second over a minute, and one without a sink is whole within two.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace cleanroom::fetch {

enum class Transport {
  kHttps,
  kPlainOnLoopback,  // also http, to addresses of this machine
};

struct HttpRequest {
  std::string url;
  Secret authorization = {};             // value of the header; empty for none
  std::vector<std::string> accept = {};  // media types
  uint64_t range_start = 0;              // asks for the bytes from here on when not 0
  Secret form = {};  // not empty: a POST of this urlencoded form, whose redirects are not followed
  Transport transport = Transport::kHttps;
};

struct HttpOptions {
  // As docker's and containers' certs.d: HOST[:PORT]/*.crt in these are authorities (PEM) that are
  // trusted for that server beside the system's. Any of them may be missing.
  std::vector<std::filesystem::path> certificate_folders;
};

struct HttpResponse {
  int status = 0;
  std::vector<std::string> www_authenticate;
  std::string body;  // of answers that did not go to the sink; at most max_body_bytes
};

// Gets the bytes of a 200 or 206 answer as they come. Returning an error ends the transfer with it.
using HttpSink = std::function<Result<void>(int status, std::span<const uint8_t> data)>;

class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;

  // The answer whatever its status; an error only when there was none: unavailable (no connection,
  // broken off), canceled, failed_precondition (the address may not be used, or the server's
  // certificate is not trusted), resource_exhausted (body over max_body_bytes), or the sink's own.
  // With a sink, bodies of 200 and 206 go there. No error shows an address's path or query.
  Result<HttpResponse> Fetch(const HttpRequest& request, uint64_t max_body_bytes,
                             const HttpSink& sink, const std::stop_token& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// As RFC 3986 wants text inside a query: all but unreserved characters percent-encoded.
std::string UrlEncode(std::string_view text);

// Whether `host` ("localhost", "127.0.0.1:5000", "[::1]:5000") is this machine.
bool IsLoopbackHost(std::string_view host);

}  // namespace cleanroom::fetch
