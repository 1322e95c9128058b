// A bare repository for a moment: it sees a mirror's objects (by alternates) and has the mirror's refs,
// and what is written to it goes with it. So nothing that a user sends ever gets into a mirror.
#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "git/mirror.h"
#include "os/scratch.h"

namespace cleanroom::git {

class ScratchRepository {
 public:
  // Beside the mirror, of which somebody holds the use (Resolved::use) while this lives.
  static Result<ScratchRepository> Create(const Mirror& mirror, const Control& control);

  const Mirror& repository() const { return *repository_; }
  // A folder for files of the same life.
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  ScratchRepository(os::TempFolder folder, const Git& git)
      : folder_(std::move(folder)),
        repository_(std::make_unique<Mirror>(git, folder_.path() / "r.git")) {}
  os::TempFolder folder_;
  std::unique_ptr<Mirror> repository_;
};

}  // namespace cleanroom::git
