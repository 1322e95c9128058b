// Changes: what has been written to a folder that is made of layers, and what is gone from it, by
// looking at the overlay's upper folder alone: it costs what has changed.
#pragma once

#include <sys/stat.h>

#include <deque>
#include <optional>
#include <string>

#include "base/result.h"
#include "guest/files/root.h"
#include "os/unique_fd.h"
#include "tree/walk.h"

namespace cleanroom::guest {

struct Change {
  std::string path;   // relative to the folder
  bool gone = false;  // it was there, with all that was below it; what is there now is told apart
  struct stat info = {};  // of what is there, unless gone
  std::string target{};   // of a link
};

class Changes {
 public:
  // `upper` is the upper folder in the agent's view, `folder` the absolute path of the mount in the
  // root, which outlives this.
  static Result<Changes> Open(const std::string& upper, const Root& root, std::string folder);

  // Nothing at the end. A path may be told twice. Errors as tree::Walk has them.
  Result<std::optional<Change>> Next();

 private:
  Changes(os::UniqueFd upper, const Root& root, std::string folder);
  Result<std::optional<Change>> Look(const tree::Walk::Found& found, const std::string& path);

  os::UniqueFd upper_;
  const Root* root_;
  std::string folder_;
  tree::Walk walk_;
  std::deque<Change> told_;  // before the next one
  // A folder that was renamed as a whole: all of it is told, as it is seen.
  struct Moved {
    std::string path;
    os::UniqueFd fd;
    tree::Walk walk;
  };
  std::optional<Moved> moved_;
};

}  // namespace cleanroom::guest
