#include "repository/tree_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace cleanroom::repository {

// ":OLDMODE NEWMODE OLDID NEWID STATUS", NUL, path, NUL.
Result<std::vector<TreeChange>> ParseTreeChanges(std::string_view text, size_t most) {
  std::vector<TreeChange> out;
  while (!text.empty()) {
    const size_t head = text.find('\0');
    const size_t end = head == text.npos ? head : text.find('\0', head + 1);
    if (end == text.npos || text[0] != ':') {
      return Err(ErrorCode::kDataCorrupt, "git's list of changes is cut off");
    }
    std::array<std::string_view, 5> words;
    std::string_view line = text.substr(1, head - 1);
    for (std::string_view& word : words) {
      word = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(word.size() + 1, line.size()));
    }
    if (words[4].size() != 1) {
      return Err(ErrorCode::kDataCorrupt, "git's list of changes has a strange line");
    }
    if (out.size() == most) {
      return Err(ErrorCode::kResourceExhausted, fmt::format("more than {} changes", most));
    }
    out.push_back({.path = std::string(text.substr(head + 1, end - head - 1)),
                   .mode = std::string(words[1]),
                   .id = std::string(words[3]),
                   .deleted = words[4] == "D"});
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace cleanroom::repository
