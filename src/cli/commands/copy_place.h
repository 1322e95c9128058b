// Where `cleanroom cp` copies from and to.
#pragma once

#include <string>

#include "base/result.h"
#include "os/unique_fd.h"

namespace cleanroom::cli {

// "ID:/absolute", or a path of this machine.
struct CopyPlace {
  std::string sandbox_id{};  // empty: this machine
  std::string path{};
  std::string Text() const { return sandbox_id.empty() ? path : sandbox_id + ":" + path; }
};

// Both sides as they were typed. invalid_argument unless exactly one is a sandbox's.
struct CopyPlaces {
  CopyPlace from;
  CopyPlace to;
};
Result<CopyPlaces> ParseCopy(const std::string& from, const std::string& to);

// The last name of a path, without the slashes behind it; empty for "/", ".", ".." and "".
std::string LastName(const std::string& path);

// A local file that is to be written.
struct LocalTarget {
  os::UniqueFd folder;
  std::string name;
};
// The path of a file named `name` that is to be at `path`: in it, where that is a folder or ends with
// a slash. A link is followed to the file it leads to, whether there is one or not; but one inside a
// folder only to a file inside it. not_found: its folder is not there. invalid_argument: a folder is
// in the way, or links go in a circle.
Result<LocalTarget> FindLocalFile(const std::string& path, const std::string& name);
// The same for a folder of that name, which is made.
Result<os::UniqueFd> MakeLocalFolder(const std::string& path, const std::string& name);

}  // namespace cleanroom::cli
