// Http1Parser: one HTTP/1.x request out of hostile bytes, by Boost.Beast's parser.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace cleanroom::http {

class Http1Parser {
 public:
  // A head longer than `max_header_bytes` is refused.
  explicit Http1Parser(size_t max_header_bytes);
  ~Http1Parser();

  // Takes bytes from the front of `bytes` and returns how many; what is left must be given again,
  // together with more. Stops behind the head, and at the end of the request; body bytes are
  // appended to `body`, at most `max_body` at a time. kResourceExhausted: the head is too large;
  // kInvalidArgument: no HTTP/1.
  Result<size_t> Put(std::string_view bytes, std::string& body, size_t max_body);

  bool head_done() const;
  bool done() const;  // the body too
  // Once head_done:
  RequestHead Head() const;
  bool http_1_1() const;  // else 1.0
  bool keep_alive() const;
  bool expects_continue() const;

 private:
  struct Parser;
  size_t max_header_bytes_;
  std::unique_ptr<Parser> parser_;
};

}  // namespace cleanroom::http
