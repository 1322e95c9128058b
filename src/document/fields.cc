#include "document/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <tuple>
#include <utility>

namespace cleanroom::document {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// False after reporting that the node is not a scalar with a value.
bool CheckScalar(const Node& node, std::string_view path, std::string_view wanted, Report& report) {
  if (node.kind == Node::Kind::kScalar && !node.IsNull()) return true;
  report.Add(node, path, fmt::format("expected {}, found {}", wanted, node.Describe()));
  return false;
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

constexpr std::array<std::pair<std::string_view, int64_t>, 13> kUnits = {{
    {"b", 1},
    {"k", 1LL << 10},
    {"kib", 1LL << 10},
    {"m", 1LL << 20},
    {"mib", 1LL << 20},
    {"g", 1LL << 30},
    {"gib", 1LL << 30},
    {"t", 1LL << 40},
    {"tib", 1LL << 40},
    {"kb", 1'000},
    {"mb", 1'000'000},
    {"gb", 1'000'000'000},
    {"tb", 1'000'000'000'000},
}};

std::optional<int64_t> ParseSize(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::optional<int64_t> number = ParseInteger(text.substr(0, digits));
  if (!number) return std::nullopt;
  std::string unit(text.substr(digits));
  if (unit.starts_with(' ')) unit.erase(0, 1);
  std::transform(unit.begin(), unit.end(), unit.begin(), Lower);
  for (const auto& [name, factor] : kUnits) {
    int64_t bytes = 0;
    if (unit == name && !__builtin_mul_overflow(*number, factor, &bytes)) return bytes;
  }
  return std::nullopt;
}

// The size in the largest unit that divides it.
std::string FormatSize(int64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames = {" bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (unit + 1 < kNames.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", bytes, kNames[unit]);
}

}  // namespace

void Report::Add(const Node& at, std::string_view path, std::string_view message) {
  if (diagnostics_.size() >= kMaxDiagnostics) return;
  std::string text = path.empty() ? std::string(message) : fmt::format("{}: {}", path, message);
  diagnostics_.push_back({file_name_, at.line, at.column, std::move(text)});
}

std::vector<Diagnostic> Report::Take() && {
  std::sort(diagnostics_.begin(), diagnostics_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.line, a.column, a.message) < std::tie(b.line, b.column, b.message);
  });
  return std::move(diagnostics_);
}

std::optional<std::string> ReadText(const Node& node, std::string_view path, Report& report) {
  if (!CheckScalar(node, path, "text", report)) return std::nullopt;
  if (node.text.empty()) {
    report.Add(node, path, "is empty");
    return std::nullopt;
  }
  if (node.text.size() > kMaxText) {
    report.Add(node, path, fmt::format("has more than {} bytes", kMaxText));
    return std::nullopt;
  }
  return node.text;
}

std::optional<std::string> ReadLine(const Node& node, std::string_view path, size_t max,
                                    Report& report) {
  std::optional<std::string> text = ReadText(node, path, report);
  if (!text) return std::nullopt;
  if (text->size() > max) {
    report.Add(node, path, fmt::format("has more than {} bytes", max));
    return std::nullopt;
  }
  if (text->find_first_of("\n\r\t") != std::string::npos) {
    report.Add(node, path, "must be one line without tabs");
    return std::nullopt;
  }
  return text;
}

std::optional<int64_t> ReadInteger(const Node& node, std::string_view path, int64_t min,
                                   int64_t max, Report& report) {
  if (!CheckScalar(node, path, "a whole number", report)) return std::nullopt;
  const std::optional<int64_t> value = ParseInteger(node.text);
  if (!value || !node.plain) {
    const std::string_view remedy = value ? " in quotes; remove them" : "";
    report.Add(node, path,
               fmt::format("expected a whole number, found {}{}", node.Describe(), remedy));
    return std::nullopt;
  }
  if (*value < min || *value > max) {
    report.Add(node, path, fmt::format("{} is out of range; write {} to {}", *value, min, max));
    return std::nullopt;
  }
  return value;
}

std::optional<bool> ReadBoolean(const Node& node, std::string_view path, Report& report) {
  if (!CheckScalar(node, path, "true or false", report)) return std::nullopt;
  if (node.plain && node.text == "true") return true;
  if (node.plain && node.text == "false") return false;
  report.Add(node, path,
             fmt::format("expected true or false, found {}{}", node.Describe(),
                         node.plain ? "" : " in quotes"));
  return std::nullopt;
}

std::optional<int64_t> ReadSize(const Node& node, std::string_view path, int64_t min, int64_t max,
                                Report& report) {
  if (!CheckScalar(node, path, "a size such as 8GiB", report)) return std::nullopt;
  const std::optional<int64_t> bytes = ParseSize(node.text);
  if (!bytes) {
    report.Add(node, path,
               fmt::format("expected a size such as 8GiB, found {}; write a whole number and KiB, "
                           "MiB, GiB, K, M, G (1024s) or KB, MB, GB (1000s)",
                           node.Describe()));
    return std::nullopt;
  }
  if (*bytes < min || *bytes > max) {
    report.Add(node, path,
               fmt::format("{} is out of range; write {} to {}", node.text, FormatSize(min),
                           FormatSize(max)));
    return std::nullopt;
  }
  return bytes;
}

std::optional<std::string> ReadChoice(const Node& node, std::string_view path,
                                      const std::vector<std::string_view>& choices,
                                      Report& report) {
  const std::string wanted = fmt::format("{}", fmt::join(choices, " or "));
  if (!CheckScalar(node, path, wanted, report)) return std::nullopt;
  if (std::find(choices.begin(), choices.end(), node.text) != choices.end()) return node.text;
  report.Add(node, path, fmt::format("expected {}, found {}", wanted, node.Describe()));
  return std::nullopt;
}

const std::vector<Node>& ReadList(const Node& node, std::string_view path, size_t max,
                                  Report& report) {
  static const std::vector<Node> kEmpty;
  if (node.kind != Node::Kind::kList) {
    report.Add(node, path,
               fmt::format("expected a list, found {}{}", node.Describe(),
                           node.IsNull() ? "; write [] for an empty one" : ""));
    return kEmpty;
  }
  if (node.items.size() > max) {
    report.Add(node, path,
               fmt::format("has {} entries; at most {} are read", node.items.size(), max));
    return kEmpty;
  }
  return node.items;
}

std::vector<std::string> ReadLines(const Node& node, std::string_view path, size_t max,
                                   Report& report) {
  constexpr size_t kMaxLine = 4096;
  std::vector<std::string> lines;
  size_t index = 0;
  for (const Node& item : ReadList(node, path, max, report)) {
    const auto line = ReadLine(item, fmt::format("{}[{}]", path, index++), kMaxLine, report);
    if (line) lines.push_back(*line);
  }
  return lines;
}

Fields::Fields(const Node& node, std::string path, Report& report)
    : node_(node), path_(std::move(path)), report_(report) {
  if (node.kind == Node::Kind::kMap) return;
  report.Add(node, path_,
             fmt::format("expected a map, found {}{}", node.Describe(),
                         node.IsNull() ? "; remove the key or write its values" : ""));
}

const Node* Fields::Get(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  for (const auto& [name, value] : node_.entries) {
    if (name.text == key) return &value;
  }
  return nullptr;
}

const Node* Fields::Require(std::string_view key, std::string_view remedy) {
  const Node* value = Get(key);
  if (value == nullptr && node_.kind == Node::Kind::kMap) {
    report_.Add(node_, path_, fmt::format("`{}` is missing; {}", key, remedy));
  }
  return value;
}

std::optional<std::string> Fields::Text(std::string_view key) {
  const Node* value = Get(key);
  return value == nullptr ? std::nullopt : ReadText(*value, Path(key), report_);
}

std::optional<std::string> Fields::Line(std::string_view key, size_t max) {
  const Node* value = Get(key);
  return value == nullptr ? std::nullopt : ReadLine(*value, Path(key), max, report_);
}

std::optional<int64_t> Fields::Integer(std::string_view key, int64_t min, int64_t max) {
  const Node* value = Get(key);
  return value == nullptr ? std::nullopt : ReadInteger(*value, Path(key), min, max, report_);
}

std::optional<bool> Fields::Boolean(std::string_view key) {
  const Node* value = Get(key);
  return value == nullptr ? std::nullopt : ReadBoolean(*value, Path(key), report_);
}

std::optional<int64_t> Fields::Size(std::string_view key, int64_t min, int64_t max) {
  const Node* value = Get(key);
  return value == nullptr ? std::nullopt : ReadSize(*value, Path(key), min, max, report_);
}

std::optional<std::string> Fields::Choice(std::string_view key,
                                          const std::vector<std::string_view>& choices) {
  const Node* value = Get(key);
  return value == nullptr ? std::nullopt : ReadChoice(*value, Path(key), choices, report_);
}

std::vector<std::string> Fields::Lines(std::string_view key, size_t max) {
  const Node* value = Get(key);
  return value == nullptr ? std::vector<std::string>() : ReadLines(*value, Path(key), max, report_);
}

int Fields::LineOf(std::string_view key) const {
  for (const auto& [name, value] : node_.entries) {
    if (name.text == key) return name.line;
  }
  return 0;
}

std::string Fields::Path(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void Fields::Finish(const std::vector<std::pair<std::string_view, std::string_view>>& elsewhere) {
  for (const auto& [name, value] : node_.entries) {
    if (report_.full()) return;
    if (std::find(known_.begin(), known_.end(), name.text) != known_.end()) continue;
    const auto place = std::find_if(elsewhere.begin(), elsewhere.end(), [&name](const auto& entry) {
      return entry.first == name.text;
    });
    if (place != elsewhere.end()) {
      // "PLACE" or "PLACE: why".
      const std::string_view where = place->second.substr(0, place->second.find(": "));
      report_.Add(name, path_,
                  fmt::format("`{}` belongs at `{}`{}", name.text, where,
                              place->second.substr(where.size())));
      continue;
    }
    const std::string_view nearest = Nearest(name.text, known_);
    report_.Add(
        name, path_,
        nearest.empty()
            ? fmt::format("unknown key {}; known are {}", name.Describe(), fmt::join(known_, ", "))
            : fmt::format("unknown key {}; did you mean `{}`?", name.Describe(), nearest));
  }
}

}  // namespace cleanroom::document
