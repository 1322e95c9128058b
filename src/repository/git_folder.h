// The small files of a checkout's .git: pure functions of what is checked out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "git/mirror.h"

namespace cleanroom::repository {

struct GitFolder {
  std::string commit;
  std::string branch;          // empty: HEAD is on none
  std::string default_branch;  // of the remote; may be empty
  std::string origin;          // the remote's URL
  std::string object_format;   // "sha1" or "sha256"

  struct Submodule {
    std::string name, url;
  };
  std::vector<Submodule> submodules{};  // that are checked out
  // Of a submodule: its own work tree, relative to this folder.
  std::string work_tree{};
};

std::string HeadText(const GitFolder& of);
// The branch follows the remote's of the same name, where the mirror has that.
std::string ConfigText(const GitFolder& of, const std::vector<git::Ref>& mirror_refs);
// The mirror's branches as the remote's, its tags, and the branch that the checkout is on.
std::string PackedRefsText(const GitFolder& of, const std::vector<git::Ref>& mirror_refs);

// Whether a component of a path names .git or what some system takes for it. git refuses more such
// spellings by itself; this is what must hold whatever git does.
bool IsGitName(std::string_view component);

}  // namespace cleanroom::repository
