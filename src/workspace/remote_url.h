// RemoteUrl: where a repository's remote is, and when two spellings mean the same repository. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::workspace {

struct RemoteUrl {
  std::string scheme;  // lower case: "https", "ssh", "http", "git"; "file" for a path of this host
  std::string user;    // of ssh only: those of https are secrets, and dropped
  std::string host;    // lower case; empty for "file"
  uint16_t port = 0;   // 0: the scheme's own
  std::string path;    // begins with '/' unless it is relative to ssh's home
  // The URL named a user or a password that is no part of this.
  bool had_credentials = false;

  // URLs, and git's short form of ssh (user@host:path). invalid_argument, without the URL's
  // credentials in the message, for what git would run a program for ("ext::…") or what nobody
  // reads ("-…", control characters, more than 2048 bytes).
  static Result<RemoteUrl> Parse(std::string_view text);

  // What travels to the daemon: no credentials.
  std::string ToString() const;
  // The same for all spellings of one repository: "host[:port]/path" without ".git", whatever the
  // scheme and its default port.
  std::string Identity() const;
};

// A URL or a path, and not the name of a remote.
bool IsRemoteUrl(std::string_view text);

}  // namespace cleanroom::workspace
