// A bare repository for a moment: it sees a mirror's objects (by alternates), and what is written to it goes with it. So nothing that a
// user sends ever gets into a mirror.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "git/mirror.h"
#include "os/scratch.h"

namespace cleanroom::git {

class ScratchRepository {
 public:
  // Which refs it has. Reading the mirror's takes a process; nothing else does.
  enum class Refs : uint8_t { kNone, kOfMirror };
  // Beside the mirror, of which somebody holds the use (Resolved::use) while this lives. `object_format`: the mirror's
  // (ObjectFormatOf).
  static Result<ScratchRepository> Create(const Mirror& mirror, std::string_view object_format,
                                          Refs refs, const Control& control);

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
