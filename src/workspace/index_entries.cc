#include "workspace/index_entries.h"

#include <fmt/format.h>

namespace cleanroom::workspace {
namespace {

std::unexpected<Error> Unreadable(std::string_view what) {
  return Err(ErrorCode::kInternal, fmt::format("git prints {} in a form that is not known", what));
}

// The next word of `line`, which loses it and the space behind.
std::string_view Word(std::string_view& line, char end = ' ') {
  const size_t at = std::min(line.find(end), line.size());
  const std::string_view word = line.substr(0, at);
  line.remove_prefix(std::min(at + 1, line.size()));
  return word;
}

// git has a mode and an id of nothing but zeros for what is not there.
std::string Present(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos ? "" : std::string(text);
}

}  // namespace

Result<std::vector<TrackedFile>> ReadIndex(const Git& git, const GitCall& call) {
  CR_TRY_ASSIGN(const auto lines, git.ReadNames({"ls-files", "--stage", "-z"}, call));
  std::vector<TrackedFile> out;
  out.reserve(lines.size());
  for (const std::string& text : lines) {
    std::string_view line = text;
    TrackedFile& file = out.emplace_back();
    file.mode = Word(line);
    file.id = Word(line);
    const std::string_view stage = Word(line, '\t');
    file.path = line;
    if (stage.size() != 1 || file.path.empty()) return Unreadable("its index");
    file.stage = stage[0] - '0';
  }
  return out;
}

Result<std::unordered_map<std::string, TrackedFile>> ReadTree(const Git& git,
                                                              const std::string& tree) {
  CR_TRY_ASSIGN(const auto lines, git.ReadNames({"ls-tree", "-r", "-z", "--full-tree", tree}));
  std::unordered_map<std::string, TrackedFile> out;
  out.reserve(lines.size());
  for (const std::string& text : lines) {
    std::string_view line = text;
    TrackedFile file;
    file.mode = Word(line);
    Word(line);  // the type
    file.id = Word(line, '\t');
    file.path = line;
    if (file.path.empty()) return Unreadable("a tree");
    out.emplace(file.path, file);
  }
  return out;
}

Result<std::vector<TreeChange>> ReadChanges(const Git& git, const std::vector<std::string>& args,
                                            const GitCall& call) {
  // ":OLDMODE MODE OLDID ID STATUS" and the path, each with its NUL.
  CR_TRY_ASSIGN(const auto words, git.ReadNames(args, call));
  if (words.size() % 2 != 0) return Unreadable("a difference");
  std::vector<TreeChange> out;
  out.reserve(words.size() / 2);
  for (size_t i = 0; i < words.size(); i += 2) {
    std::string_view line = words[i];
    if (!line.starts_with(':')) return Unreadable("a difference");
    line.remove_prefix(1);
    TreeChange& change = out.emplace_back();
    change.old_mode = Present(Word(line));
    change.mode = Present(Word(line));
    change.old_id = Present(Word(line));
    change.id = Present(Word(line));
    change.path = words[i + 1];
  }
  return out;
}

}  // namespace cleanroom::workspace
