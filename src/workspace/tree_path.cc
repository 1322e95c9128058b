#include "workspace/tree_path.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/utf8.h"

namespace cleanroom::workspace {
namespace {

// The code points that HFS+ leaves out when it compares names, as git lists them (utf8.c).
bool IsIgnoredByHfs(uint32_t c) {
  return (c >= 0x200c && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
         (c >= 0x206a && c <= 0x206f) || c == 0xfeff;
}

std::string WithoutIgnored(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const size_t length = std::max<size_t>(1, Utf8SequenceLength(name));
    if (length == 3) {
      const auto at = [&name](size_t i) { return static_cast<unsigned char>(name[i]); };
      const uint32_t c = (at(0) & 15U) << 12 | (at(1) & 63U) << 6 | (at(2) & 63U);
      if (!IsIgnoredByHfs(c)) out.append(name.substr(0, 3));
    } else {
      out.append(name.substr(0, length));
    }
    name.remove_prefix(length);
  }
  return out;
}

// Calls `on_part` with each part, until it returns false.
template <typename OnPart>
void ForParts(std::string_view path, OnPart on_part) {
  while (true) {
    const size_t end = path.find('/');
    if (!on_part(path.substr(0, end)) || end == std::string_view::npos) return;
    path.remove_prefix(end + 1);
  }
}

}  // namespace

bool IsDotGit(std::string_view name) {
  std::string plain = WithoutIgnored(name);
  // To NTFS, what is behind a ':' is a stream; git takes '\\' for '/' there.
  plain = plain.substr(0, plain.find_first_of(":\\"));
  while (plain.ends_with('.') || plain.ends_with(' ')) plain.pop_back();
  for (char& c : plain) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return plain == ".git" || plain == "git~1";
}

std::optional<std::string_view> WhyNotInTree(std::string_view path) {
  if (path.empty()) return "it is empty";
  if (path.size() > kMaxPathBytes) return "it is longer than 4095 bytes";
  if (path.starts_with('/')) return "it is absolute";
  if (path.contains('\0')) return "it has a NUL";
  if (ToValidUtf8(path) != path) return "it is not UTF-8";
  std::optional<std::string_view> why;
  size_t depth = 0;
  ForParts(path, [&](std::string_view part) {
    if (part.empty() || part == ".") why = "it is not in its plainest form";
    if (part == "..") why = "it leads up";
    if (part.size() > kMaxNameBytes) why = "it has a name longer than 255 bytes";
    if (++depth > kMaxPathDepth) why = "it is deeper than 256 folders";
    if (!why && IsDotGit(part)) why = "it is git's own folder";
    // On NTFS, and to git for it, a '\\' begins another part.
    std::string turned(part);
    std::ranges::replace(turned, '\\', '/');
    ForParts(turned, [&why](std::string_view inner) {
      if (!why && IsDotGit(inner)) why = "it is git's own folder";
      return !why;
    });
    return !why;
  });
  return why;
}

std::optional<std::string_view> WhyNotTarget(std::string_view path, std::string_view target) {
  if (target.empty() || target.size() > kMaxPathBytes) return "it leads nowhere";
  if (target.starts_with('/')) return "it leads out of the work tree";
  if (target.contains('\0')) return "its target has a NUL";
  auto room = std::ranges::count(path, '/');
  std::optional<std::string_view> why;
  bool down = false;
  ForParts(target, [&](std::string_view part) {
    if (part == "..") {
      // Behind a name that may itself be a link, nobody knows where it leads.
      if (down) why = "its target goes down and up again";
      if (--room < 0) why = "it leads out of the work tree";
    } else if (!part.empty() && part != ".") {
      down = true;
      if (IsDotGit(part)) why = "it leads into git's own folder";
    }
    return !why;
  });
  return why;
}

std::string_view ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

}  // namespace cleanroom::workspace
