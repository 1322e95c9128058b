#include "http/http1_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <limits>
#include <utility>

namespace cleanroom::http {
namespace {

namespace beast = boost::beast;

std::string ToLower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// The path of "/path?query" or "http://host/path?query".
std::string PathOf(std::string_view target) {
  const size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {
    target.remove_prefix(std::min(target.size(), target.find('/', scheme + 3)));
  }
  return std::string(target.substr(0, target.find('?')));
}

}  // namespace

struct Http1Parser::Parser {
  beast::http::request_parser<beast::http::buffer_body> http;
};

Http1Parser::Http1Parser(size_t max_header_bytes)
    : max_header_bytes_(max_header_bytes), parser_(std::make_unique<Parser>()) {
  parser_->http.header_limit(static_cast<uint32_t>(
      std::min<size_t>(max_header_bytes, std::numeric_limits<uint32_t>::max())));
  parser_->http.body_limit(boost::none);
}

Http1Parser::~Http1Parser() = default;

Result<size_t> Http1Parser::Put(std::string_view bytes, std::string& body, size_t max_body) {
  auto& http = parser_->http;
  if (http.is_done()) return 0;
  const bool in_body = http.is_header_done();
  const size_t before = body.size();
  const size_t room = std::min(max_body, bytes.size());
  if (in_body) {
    body.resize(before + room);
    http.get().body().data = body.data() + before;
    http.get().body().size = room;
    http.get().body().more = true;
    http.eager(true);
  }
  beast::error_code error;
  const size_t taken = http.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  if (in_body) {
    body.resize(before + room - http.get().body().size);
    http.get().body().data = nullptr;
  }
  if (error == beast::http::error::header_limit) {
    return Err(ErrorCode::kResourceExhausted, "the request's head is too large");
  }
  if (error && error != beast::http::error::need_more && error != beast::http::error::need_buffer) {
    return Err(ErrorCode::kInvalidArgument, "malformed HTTP/1: " + error.message());
  }
  // Beast waits for whole lines; a line (of a chunk's head or of trailers) has the head's limit.
  if (taken == 0 && body.size() == before && bytes.size() > max_header_bytes_ && !http.is_done()) {
    return Err(ErrorCode::kResourceExhausted, "a line of the request is too long");
  }
  return taken;
}

bool Http1Parser::head_done() const { return parser_->http.is_header_done(); }
bool Http1Parser::done() const { return parser_->http.is_done(); }

RequestHead Http1Parser::Head() const {
  const auto& message = parser_->http.get();
  RequestHead head;
  head.method = std::string(message.method_string());
  head.path = PathOf({message.target().data(), message.target().size()});
  for (const auto& field : message) {
    head.headers.emplace_back(ToLower({field.name_string().data(), field.name_string().size()}),
                              std::string(field.value()));
  }
  return head;
}

bool Http1Parser::http_1_1() const { return parser_->http.get().version() >= 11; }
bool Http1Parser::keep_alive() const { return parser_->http.keep_alive(); }

bool Http1Parser::expects_continue() const {
  return beast::iequals(parser_->http.get()[beast::http::field::expect], "100-continue");
}

}  // namespace cleanroom::http
