// What a sandbox sends back of its work tree: the list of what it deleted (lines, up to an empty
// one), then the tar. Nothing that is taken may lead out of a work tree or into its .git.
#include <cctype>
#include <cstring>
#include <set>
#include <string>
#include <string_view>

#include "workspace/incoming.h"

namespace {

using namespace cleanroom::workspace;

class MemorySource : public cleanroom::archive::ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  cleanroom::Result<size_t> Read(std::span<uint8_t> buffer) override {
    const size_t n = std::min(buffer.size(), bytes_.size());
    std::memcpy(buffer.data(), bytes_.data(), n);
    bytes_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view bytes_;
};

void Require(bool holds) {
  if (!holds) __builtin_trap();
}

// Written apart from what it checks: part by part, and where one may be read as several, each.
void RequireInTree(std::string_view path) {
  Require(!path.empty() && path.front() != '/' && !path.contains('\0'));
  std::string part;
  for (size_t i = 0; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '/' && path[i] != '\\') {
      part += static_cast<char>(std::tolower(static_cast<unsigned char>(path[i])));
      continue;
    }
    const bool plain = i == path.size() || path[i] == '/';
    if (plain) Require(part != "..");
    Require(part != ".git" && part != "git~1" && part != ".git." && part != ".git ");
    part.clear();
  }
}

// Where a link leads, taken step by step from where it lies.
void RequireTargetInTree(std::string_view path, std::string_view target) {
  Require(!target.starts_with('/'));
  int depth = 0;
  for (const char c : path) depth += c == '/' ? 1 : 0;
  while (!target.empty()) {
    const size_t end = std::min(target.find('/'), target.size());
    const std::string_view part = target.substr(0, end);
    if (part == "..")
      --depth;
    else if (!part.empty() && part != ".")
      ++depth;
    Require(depth >= 0 && part != ".git");
    target.remove_prefix(std::min(end + 1, target.size()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> deleted;
  while (!bytes.empty()) {
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (line.empty()) break;
    deleted.emplace_back(line);
  }
  MemorySource tar(bytes);
  const auto read = ReadIncoming(tar, deleted, size % 2 == 0 ? "sha1" : "sha256",
                                 {.max_entries = 1000,
                                  .max_file_bytes = 1 << 20,
                                  .max_total_bytes = 4 << 20,
                                  .max_name_bytes = 1 << 20});
  if (!read) return 0;
  std::set<std::string> paths;
  uint64_t total = 0;
  for (const IncomingFile& file : read->files) {
    RequireInTree(file.path);
    Require(paths.insert(file.path).second);
    if (!file.target.empty()) RequireTargetInTree(file.path, file.target);
    total += file.target.empty() ? file.size : 0;
  }
  Require(total <= 4 << 20);
  for (const std::string& path : read->deleted) {
    RequireInTree(path);
    Require(paths.insert(path).second);
  }
  return 0;
}
