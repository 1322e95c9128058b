// Where a repository is fetched from, as its user named it and as mirrors are keyed by it.
//
// Taken are https://, ssh://, git@HOST:PATH (scp's form, the same as ssh://), and http:// where the
// operator allows it. The text is hostile: it becomes an argument of git and of ssh. Refused, by name:
// other schemes and helpers (file://, git://, ext::, paths), a host or path that begins with '-',
// control characters and spaces, "." and ".." segments (also percent-encoded), a query or fragment,
// texts over 2048 bytes. A URL with a password is refused without being shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::git {

enum class Scheme : uint8_t { kHttps, kHttp, kSsh, kFile };

enum class PlainHttp : uint8_t { kRefused, kAllowed };
// Absolute paths and file:// URLs: for tests alone.
enum class LocalPaths : uint8_t { kRefused, kAllowed };

struct UrlRules {
  PlainHttp http = PlainHttp::kRefused;
  LocalPaths paths = LocalPaths::kRefused;
};

class RemoteUrl {
 public:
  // invalid_argument, saying what is wrong and what to write instead.
  static Result<RemoteUrl> Parse(std::string_view text, const UrlRules& rules = {});

  Scheme scheme() const { return scheme_; }
  // Lower case; an IPv6 address without its brackets. Empty for a path.
  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // "/owner/name.git", as given but for doubled and trailing slashes.
  const std::string& path() const { return path_; }

  // One spelling for all that name the same repository: lower-case host, no default port, no user
  // for https, no trailing ".git" or '/'.
  const std::string& identity() const { return identity_; }
  // What git fetches from: no user for https (credentials are the helper's business).
  const std::string& fetch_url() const { return fetch_url_; }
  // What a checkout's origin is set to: as given, without a user for https.
  const std::string& origin() const { return origin_; }

 private:
  friend class UrlParser;
  RemoteUrl() = default;
  Scheme scheme_ = Scheme::kHttps;
  uint16_t port_ = 0;
  std::string host_, path_, identity_, fetch_url_, origin_;
};

}  // namespace cleanroom::git
