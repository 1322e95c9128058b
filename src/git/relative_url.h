// URLs of submodules, which .gitmodules may give relative to the URL of their parent.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "git/remote_url.h"

namespace cleanroom::git {

// "./x" and "../x" as git-submodule(1) resolves them, by the parent's origin; anything else as it is.
// To be parsed like every other URL. invalid_argument where it would leave the parent's host.
Result<std::string> ResolveRelativeUrl(const RemoteUrl& parent, std::string_view text);

// Whether both are of the same host, port and scheme.
bool IsSameHost(const RemoteUrl& a, const RemoteUrl& b);

}  // namespace cleanroom::git
