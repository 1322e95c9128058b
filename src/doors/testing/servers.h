// For tests: what servers do with a client, and what an HTTP client says.
#pragma once

#include <fmt/format.h>

#include <string>

#include "doors/testing/world.h"

namespace cleanroom::doors {

inline std::string Get(const std::string& host, const std::string& path = "/") {
  return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

// A response that leaves the connection open.
inline std::string Ok(const std::string& body) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

// Says what it got, for as long as something comes; ends when the client does.
inline Awaitable<void> Echo(Client& client) {
  for (;;) {
    auto read = client.Read(1);
    const Seen seen = co_await std::move(read);
    if (seen.bytes.empty()) break;
    auto send = client.Send("<" + seen.bytes + ">");
    (void)co_await std::move(send);
  }
  client.stream().Close();
}

// Answers every read as an HTTP server would a request.
inline Awaitable<void> Http(Client& client) {
  for (;;) {
    auto read = client.Read(1);
    const Seen seen = co_await std::move(read);
    if (seen.bytes.empty()) break;
    auto send = client.Send(Ok("hello"));
    (void)co_await std::move(send);
  }
  client.stream().Close();
}

// As SSH: speaks first.
inline Awaitable<void> Banner(Client& client) {
  auto greet = client.Send("SSH-2.0-test\r\n");
  (void)co_await std::move(greet);
  auto echo = Echo(client);
  co_await std::move(echo);
}

}  // namespace cleanroom::doors
