#include "git/scratch_repository.h"

#include <string>

#include "os/file.h"

namespace cleanroom::git {

Result<ScratchRepository> ScratchRepository::Create(const Mirror& mirror, const Control& control) {
  CR_TRY_ASSIGN(os::TempFolder folder, os::TempFolder::Create(mirror.path().parent_path() / "tmp"));
  ScratchRepository out(std::move(folder), mirror.git());
  const std::filesystem::path& path = out.repository().path();
  CR_TRY_ASSIGN(const std::string format, mirror.ObjectFormat(control));
  CR_TRY(mirror.git().Local(
      {.args = {"init", "-q", "--bare", "--template=", "--object-format=" + format, path.string()}},
      control));
  CR_TRY(os::MakeDirs(path / "objects" / "info"));
  CR_TRY(os::WriteFileAtomic(path / "objects" / "info" / "alternates",
                             (mirror.path() / "objects").string() + "\n"));
  CR_TRY_ASSIGN(const std::string refs,
                mirror.git().Local({.args = {"for-each-ref", "--format=%(objectname) %(refname)"},
                                    .git_dir = mirror.path(),
                                    .max_output = 64u << 20},
                                   control));
  CR_TRY(os::WriteFileAtomic(path / "packed-refs", "# pack-refs with: sorted \n" + refs));
  return out;
}

}  // namespace cleanroom::git
