#include "repository/modules_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/printable.h"
#include "repository/git_folder.h"

namespace cleanroom::repository {
namespace {

constexpr std::string_view kSection = "submodule.";
constexpr size_t kMaxWord = 1024;  // of a name, a path, a URL
constexpr size_t kMaxPart = 255;   // of a name or a path between two slashes

std::unexpected<Error> Refused(std::string_view name, std::string_view why) {
  return Err(ErrorCode::kDataCorrupt, fmt::format(".gitmodules: the submodule '{}' {}",
                                                  EscapeUnprintable(name.substr(0, 200)), why));
}

// Of a name or a path: parts that can be folders, and can be no option and nothing of git's.
bool IsHarmless(std::string_view text) {
  if (text.empty() || text.size() > kMaxWord || text.front() == '-') return false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') return false;
  }
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    if (part.empty() || part.size() > kMaxPart || part == "." || part == ".." || IsGitName(part))
      return false;
    begin = end + 1;
  }
  return true;
}

struct ModuleSection {
  std::optional<std::string> path, url;
};

// One of `words`, sorted, that lies in the folder that another one is.
const std::string* FindNested(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    for (size_t slash = word.find('/'); slash != std::string::npos;
         slash = word.find('/', slash + 1)) {
      if (std::ranges::binary_search(words, word.substr(0, slash))) return &word;
    }
  }
  return nullptr;
}

Result<void> CheckTogether(const std::vector<Module>& modules) {
  for (const auto member : {&Module::name, &Module::path}) {
    std::vector<std::string> words;
    for (const Module& module : modules) words.push_back(module.*member);
    std::ranges::sort(words);
    if (const auto same = std::ranges::adjacent_find(words); same != words.end())
      return Refused(*same, "has the path of another one");
    if (const std::string* nested = FindNested(words))
      return Refused(*nested, "lies in the folder of another one");
  }
  return {};
}

}  // namespace

Result<std::vector<Module>> ParseModules(std::string_view listing) {
  std::map<std::string, ModuleSection, std::less<>> sections;
  while (!listing.empty()) {
    const size_t end = std::min(listing.find('\0'), listing.size());
    const std::string_view entry = listing.substr(0, end);
    listing.remove_prefix(std::min(end + 1, listing.size()));
    const size_t newline = entry.find('\n');
    const std::string_view key = entry.substr(0, newline);
    const size_t dot = key.rfind('.');
    if (!key.starts_with(kSection) || dot < kSection.size()) continue;
    const std::string_view name = key.substr(kSection.size(), dot - kSection.size());
    const std::string_view variable = key.substr(dot + 1);
    if (variable != "path" && variable != "url") continue;
    if (newline == std::string_view::npos) return Refused(name, "has a key without a value");
    const std::string_view value = entry.substr(newline + 1);
    if (!IsHarmless(name)) return Refused(name, "has a name that cannot be that of a folder");
    if (variable == "path" && !IsHarmless(value))
      return Refused(name, "has a path that does not stay in the work tree");
    if (value.empty() || value.size() > kMaxWord) return Refused(name, "has an odd URL");
    ModuleSection& section = sections[std::string(name)];
    if (sections.size() > kMaxModules) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format(".gitmodules has more than {} submodules", kMaxModules));
    }
    std::optional<std::string>& place = variable == "path" ? section.path : section.url;
    if (place) return Refused(name, fmt::format("has two {}s", variable));
    place = value;
  }
  std::vector<Module> out;
  for (auto& [name, section] : sections) {
    if (section.path && section.url)
      out.push_back({name, *std::move(section.path), *std::move(section.url)});
  }
  CR_TRY(CheckTogether(out));
  std::ranges::sort(out, {}, &Module::path);
  return out;
}

}  // namespace cleanroom::repository
