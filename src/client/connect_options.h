// ConnectOptions: where the daemon is and how to speak to it.
#pragma once

#include <chrono>
#include <string>

namespace cleanroom::client {

struct ConnectOptions {
  // unix:///PATH, http://HOST[:PORT] or https://HOST[:PORT].
  std::string url{};
  // For https: a PEM file of the authorities to trust instead of the system's.
  std::string tls_ca{};
  // Sent as "authorization: Bearer ..." when not empty.
  std::string auth_token{};
  // For reaching the daemon, not for the calls.
  std::chrono::milliseconds timeout{10'000};
  // For a sign of life of the daemon while calls are under way, however long those take.
  std::chrono::milliseconds patience{40'000};
};

}  // namespace cleanroom::client
