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
};

std::string HeadText(const GitFolder& of);
std::string ConfigText(const GitFolder& of);
// The mirror's branches as the remote's, its tags, and the branch that the checkout is on.
std::string PackedRefsText(const GitFolder& of, const std::vector<git::Ref>& mirror_refs);

// Whether a component of a path names .git or what some system takes for it. git refuses more such
// spellings by itself; this is what must hold whatever git does.
bool IsGitName(std::string_view component);

}  // namespace cleanroom::repository
