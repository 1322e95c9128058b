#include "guest/exec/environment.h"

#include <algorithm>
#include <unordered_map>

namespace cleanroom::guest {
namespace {

class Merger {
 public:
  void Set(std::string_view entry) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string_view::npos) return;
    if (entry.find('\0') != std::string_view::npos) return;
    const auto [place, is_new] = index_.try_emplace(entry.substr(0, equals), entries_.size());
    if (is_new) {
      entries_.push_back(entry);
    } else {
      entries_[place->second] = entry;
    }
  }
  bool Has(std::string_view key) const { return index_.contains(key); }
  const std::vector<std::string_view>& entries() const { return entries_; }

 private:
  // Views of the caller's lists.
  std::unordered_map<std::string_view, size_t> index_;
  std::vector<std::string_view> entries_;
};

}  // namespace

std::vector<std::string> MergeEnvironment(const std::vector<std::string>& image,
                                          const std::vector<std::string>& request,
                                          const EnvironmentDefaults& defaults) {
  Merger merger;
  for (const std::string& entry : image) merger.Set(entry);
  for (const std::string& entry : request) merger.Set(entry);
  std::vector<std::string> out(merger.entries().begin(), merger.entries().end());
  const auto add = [&](std::string_view key, std::string_view value) {
    if (merger.Has(key) || value.empty()) return;
    out.push_back(std::string(key).append("=").append(value));
  };
  add("PATH", kDefaultPath);
  add("HOME", defaults.home);
  add("HOSTNAME", defaults.hostname);
  if (defaults.terminal) add("TERM", "xterm");
  return out;
}

std::string_view Lookup(const std::vector<std::string>& environment, std::string_view key) {
  for (const std::string_view entry : environment) {
    if (entry.size() > key.size() && entry[key.size()] == '=' && entry.starts_with(key)) {
      return entry.substr(key.size() + 1);
    }
  }
  return "";
}

std::vector<std::string> ProgramCandidates(std::string_view program, std::string_view path) {
  if (program.find('/') != std::string_view::npos) return {std::string(program)};
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string_view folder = path.substr(begin, end - begin);
    begin = end + 1;
    out.push_back(std::string(folder.empty() ? "." : folder).append("/").append(program));
  }
  return out;
}

}  // namespace cleanroom::guest
