// A repository's URL: what is taken has one identity, and it is taken again as it was made.
#include <string>
#include <string_view>

#include "git/remote_url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::git;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const UrlRules rules{.http = PlainHttp::kAllowed};
  const auto url = RemoteUrl::Parse(text, rules);
  if (!url) return 0;
  for (const std::string& made : {url->fetch_url(), url->origin()}) {
    if (made.starts_with('-') || made.find("..", 0) == 0) __builtin_trap();
    const auto again = RemoteUrl::Parse(made, rules);
    if (!again || again->identity() != url->identity()) __builtin_trap();
  }
  return 0;
}
