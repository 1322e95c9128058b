// HTTP client of registries: one GET at a time, on libcurl, blocking.
//
// https only, with certificates checked, except that plain http is spoken to loopback addresses.
// Redirects are followed by this class itself: never from https to http, and the Authorization
// header never goes to another host.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cleanroom::image {

struct HttpRequest {
  std::string url;
  std::string authorization;        // value of the header; empty for none
  std::vector<std::string> accept;  // media types
  uint64_t range_start = 0;         // asks for the bytes from here on when not 0
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
  // `ca_file`: PEM file of trusted authorities; empty means the system's.
  explicit HttpClient(std::string ca_file);
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;

  // The answer whatever its status; an error only when there was none: unavailable (no connection,
  // broken off), canceled, failed_precondition (the address may not be used), resource_exhausted
  // (body over max_body_bytes), or the sink's own. With a sink, bodies of 200 and 206 go there.
  Result<HttpResponse> Get(const HttpRequest& request, uint64_t max_body_bytes,
                           const HttpSink& sink, const std::stop_token& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether `host` ("localhost", "127.0.0.1:5000", "[::1]:5000") is this machine.
bool IsLoopbackHost(std::string_view host);

}  // namespace cleanroom::image
