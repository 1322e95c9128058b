// Names of refs, branches and objects, as somebody else wrote them.
#pragma once

#include <string_view>

namespace cleanroom::git {

// What git-check-ref-format(1) says of a whole name, as "refs/heads/x", and no more than 1024 bytes.
bool IsRefName(std::string_view name);
// What may stand behind refs/heads/: no '-' at its start, and not "HEAD".
bool IsBranchName(std::string_view name);

// 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
bool IsFullId(std::string_view text);
// "sha1" or "sha256": the object format of the repository that has this full id.
std::string_view ObjectFormatOf(std::string_view full_id);
// 4 to 63 lower-case hexadecimal digits: a part of an id.
bool IsAbbreviatedId(std::string_view text);

}  // namespace cleanroom::git
