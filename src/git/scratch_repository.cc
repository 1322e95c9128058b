#include "git/scratch_repository.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "os/file.h"

namespace cleanroom::git {

Result<ScratchRepository> ScratchRepository::Create(const Mirror& mirror,
                                                    std::string_view object_format, Refs refs,
                                                    const Control& control) {
  CR_TRY_ASSIGN(os::TempFolder folder, os::TempFolder::Create(mirror.path().parent_path() / "tmp"));
  ScratchRepository out(std::move(folder), mirror.git());
  const std::filesystem::path& path = out.repository().path();
  for (const char* name : {"objects/info", "refs"}) CR_TRY(os::MakeDirs((path / name).string()));
  // All that git needs to take it for a repository (gitrepository-layout).
  const bool sha256 = object_format == "sha256";
  const std::pair<const char*, std::string> files[] = {
      {"HEAD", "ref: refs/heads/none\n"},
      {"config",
       fmt::format("[core]\n\trepositoryformatversion = {}\n\tbare = true\n{}", sha256 ? 1 : 0,
                   sha256 ? "[extensions]\n\tobjectformat = sha256\n" : "")},
      {"objects/info/alternates", (mirror.path() / "objects").string() + "\n"},
  };
  for (const auto& [name, text] : files) {
    CR_TRY(os::WriteFileAtomic((path / name).string(), text));
  }
  if (refs == Refs::kNone) return out;
  CR_TRY_ASSIGN(const std::string names,
                mirror.git().Local({.args = {"for-each-ref", "--format=%(objectname) %(refname)"},
                                    .git_dir = mirror.path(),
                                    .max_output = 64u << 20},
                                   control));
  CR_TRY(os::WriteFileAtomic(path / "packed-refs", "# pack-refs with: sorted \n" + names));
  return out;
}

}  // namespace cleanroom::git
