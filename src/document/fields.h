// Typed reading of a document tree: each read names the key's path, checks type and range, and
// reports what is wrong with its place. A value that was refused reads as absent; the caller goes
// on to find more.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "document/diagnostic.h"
#include "document/document.h"

namespace cleanroom::document {

// Collects diagnostics of one file; drops those after kMaxDiagnostics.
class Report {
 public:
  explicit Report(std::string_view file_name) : file_name_(file_name) {}

  // "PATH: MESSAGE" at the node's place; an empty path leaves the message alone.
  void Add(const Node& at, std::string_view path, std::string_view message);
  bool empty() const { return diagnostics_.empty(); }
  bool full() const { return diagnostics_.size() >= kMaxDiagnostics; }
  // Sorted by place, then by message.
  std::vector<Diagnostic> Take() &&;

 private:
  std::string file_name_;
  std::vector<Diagnostic> diagnostics_;
};

// Scalars. `path` is for messages. Text is any scalar but null, at most kMaxText bytes, not empty.
inline constexpr size_t kMaxText = 65'536;
std::optional<std::string> ReadText(const Node& node, std::string_view path, Report& report);
// As ReadText, but one line of at most `max` bytes.
std::optional<std::string> ReadLine(const Node& node, std::string_view path, size_t max,
                                    Report& report);
// A decimal number without quotes.
std::optional<int64_t> ReadInteger(const Node& node, std::string_view path, int64_t min,
                                   int64_t max, Report& report);
// `true` or `false` without quotes.
std::optional<bool> ReadBoolean(const Node& node, std::string_view path, Report& report);
// Bytes, as "8GiB": a whole number and K, M, G, T or KiB, MiB, GiB, TiB (1024s) or KB, MB, GB, TB
// (1000s) or B, in either case.
std::optional<int64_t> ReadSize(const Node& node, std::string_view path, int64_t min, int64_t max,
                                Report& report);
// One of `choices`; suggests the nearest otherwise.
std::optional<std::string> ReadChoice(const Node& node, std::string_view path,
                                      const std::vector<std::string_view>& choices, Report& report);
// The items, or an empty list after reporting that `node` is no list or has more than `max` items.
const std::vector<Node>& ReadList(const Node& node, std::string_view path, size_t max,
                                  Report& report);
// One-line texts of a list.
std::vector<std::string> ReadLines(const Node& node, std::string_view path, size_t max,
                                   Report& report);

// The keys of one map. Every key asked for is known; Finish reports the others with the nearest
// known one.
class Fields {
 public:
  // Reports, and acts as an empty map, unless `node` is a map.
  Fields(const Node& node, std::string path, Report& report);

  // The value, or null when the key is absent.
  const Node* Get(std::string_view key);
  // As Get, and reports when the key is absent. `remedy` says what to write.
  const Node* Require(std::string_view key, std::string_view remedy);

  std::optional<std::string> Text(std::string_view key);
  std::optional<std::string> Line(std::string_view key, size_t max);
  std::optional<int64_t> Integer(std::string_view key, int64_t min, int64_t max);
  std::optional<bool> Boolean(std::string_view key);
  std::optional<int64_t> Size(std::string_view key, int64_t min, int64_t max);
  std::optional<std::string> Choice(std::string_view key,
                                    const std::vector<std::string_view>& choices);
  std::vector<std::string> Lines(std::string_view key, size_t max);

  // The line of a key that Get found.
  int LineOf(std::string_view key) const;
  // "path.key".
  std::string Path(std::string_view key) const;
  const Node& node() const { return node_; }
  Report& report() { return report_; }

  // Reports every key not asked for. A key in `elsewhere` (key, place) is explained by its place.
  void Finish(const std::vector<std::pair<std::string_view, std::string_view>>& elsewhere = {});

 private:
  const Node& node_;
  std::string path_;
  Report& report_;
  std::vector<std::string_view> known_;
};

}  // namespace cleanroom::document
