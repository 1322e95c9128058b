#include "git/relative_url.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"

namespace cleanroom::git {
namespace {

// Where the path of RemoteUrl::origin() begins, which is one of the forms that it has.
size_t PathOf(const RemoteUrl& url, std::string_view origin) {
  if (url.scheme() == Scheme::kFile) return 0;
  if (const size_t at = origin.find("://"); at != std::string_view::npos)
    return std::min(origin.find('/', at + 3), origin.size());
  const size_t bracket = origin.find("]:");
  return (bracket == std::string_view::npos ? origin.find(':') : bracket + 1) + 1;
}

}  // namespace

Result<std::string> ResolveRelativeUrl(const RemoteUrl& parent, std::string_view text) {
  if (!text.starts_with("./") && !text.starts_with("../")) return std::string(text);
  const std::string_view origin = parent.origin();
  const size_t begin = PathOf(parent, origin);
  std::string_view path = origin.substr(begin), rest = text;
  while (path.ends_with('/')) path.remove_suffix(1);
  for (;;) {
    if (rest.starts_with("./")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with("../")) {
      rest.remove_prefix(3);
      if (path.empty()) {
        return Err(ErrorCode::kInvalidArgument,
                   fmt::format("the URL '{}' leads out of {}",
                               EscapeUnprintable(text.substr(0, 200)), origin));
      }
      path = path.substr(
          0, path.find_last_of('/') == std::string_view::npos ? 0 : path.find_last_of('/'));
    } else {
      break;
    }
  }
  // A path that begins at the user's home on the other machine has no '/' before it.
  const bool from_home = !origin.substr(begin).starts_with('/');
  return fmt::format("{}{}{}{}", origin.substr(0, begin), path,
                     path.empty() && from_home ? "" : "/", rest);
}

bool IsSameHost(const RemoteUrl& a, const RemoteUrl& b) {
  return a.scheme() == b.scheme() && a.host() == b.host() && a.port() == b.port();
}

}  // namespace cleanroom::git
