#include "git/ref_name.h"

#include <algorithm>
#include <string>

namespace cleanroom::git {
namespace {

constexpr size_t kMaxRefBytes = 1024;

bool IsHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsComponent(std::string_view part) {
  if (part.empty() || part.starts_with('.') || part.ends_with(".lock")) return false;
  return std::ranges::none_of(part, [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == 0x7f ||
           std::string_view("~^:?*[\\").find(c) != std::string_view::npos;
  });
}

}  // namespace

bool IsRefName(std::string_view name) {
  if (name.size() > kMaxRefBytes || name.ends_with('.') || name == "@" ||
      name.find("..") != std::string_view::npos || name.find("@{") != std::string_view::npos ||
      name.find('/') == std::string_view::npos) {
    return false;
  }
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (!IsComponent(name.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

bool IsBranchName(std::string_view name) {
  // With a folder before it, as IsRefName wants a whole name.
  return !name.starts_with('-') && name != "HEAD" && name.size() < kMaxRefBytes - 32 &&
         IsRefName(std::string("refs/heads/").append(name));
}

bool IsFullId(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && IsHex(text);
}

std::string_view ObjectFormatOf(std::string_view full_id) {
  return full_id.size() == 64 ? "sha256" : "sha1";
}

bool IsAbbreviatedId(std::string_view text) {
  return text.size() >= 4 && text.size() < 64 && IsHex(text);
}

}  // namespace cleanroom::git
