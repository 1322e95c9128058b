#include "doors/wire/refusal.h"

#include <fmt/format.h>

#include <algorithm>

namespace cleanroom::doors::wire {

std::string HttpRefusal(std::string_view status, std::string_view code, std::string_view text) {
  // What stands in the head must not end its line.
  auto one_line = [](std::string_view in) {
    std::string out(in);
    std::ranges::replace_if(out, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    return out;
  };
  const std::string body = fmt::format("{}: {}\n", code, text);
  return fmt::format(
      "HTTP/1.1 {}\r\nX-Cleanroom-Reason-Code: {}\r\nContent-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{}",
      one_line(status), one_line(code), body.size(), body);
}

std::string TlsAlert(unsigned char description) {
  constexpr char kAlert = 21;
  constexpr char kFatal = 2;
  return {kAlert, 3, 3, 0, 2, kFatal, static_cast<char>(description)};
}

}  // namespace cleanroom::doors::wire
