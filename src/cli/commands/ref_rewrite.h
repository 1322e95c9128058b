// Changing sandbox.image.ref of a policy file in place: every other byte stays, comments too.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace cleanroom::cli {

struct FoundRef {
  std::string text;   // the reference as the file means it
  size_t offset = 0;  // of its first character in the file (after a quote)
  size_t size = 0;
};

// policy_invalid, with the place, when there is no such scalar or it is written in a way that
// cannot be changed in place (escapes, several lines, an alias).
Result<FoundRef> FindImageRef(std::string_view yaml, const std::string& file_name);

// What to pin a reference to: `resolved`, which the registry says `asked` means, with the tag that
// was asked for, so that it can be asked for again. A digest beside a tag is what counts.
Result<std::string> PinnedWithTag(const std::string& asked, const std::string& resolved);

// The file's text with `ref` as its image.
Result<std::string> RewriteImageRef(std::string_view yaml, const std::string& file_name,
                                    const std::string& ref);

}  // namespace cleanroom::cli
