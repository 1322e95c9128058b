// sandbox.dependencies and sandbox.services: setup blocks and the paths they name.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "policy/decode.h"

namespace cleanroom::policy {
namespace {

constexpr size_t kMaxName = 64;
constexpr size_t kMaxPath = 1024;

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsEnvName(std::string_view name) {
  if (name.empty() || name.size() > 256 || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return IsAlnum(c) || c == '_'; });
}

std::map<std::string, std::string> DecodeEnv(const document::Node& node, const std::string& path,
                                             document::Report& report) {
  std::map<std::string, std::string> env;
  if (node.kind != document::Node::Kind::kMap) {
    report.Add(node, path,
               fmt::format("expected a map of names and values, found {}", node.Describe()));
    return env;
  }
  if (node.entries.size() > kMaxEntries) {
    report.Add(node, path, fmt::format("has more than {} variables", kMaxEntries));
    return env;
  }
  for (const auto& [name, value] : node.entries) {
    if (!IsEnvName(name.text)) {
      report.Add(name, path,
                 fmt::format("{} is not a variable's name: letters, digits and `_`, not "
                             "beginning with a digit",
                             name.Describe()));
      continue;
    }
    if (value.kind != document::Node::Kind::kScalar || value.IsNull() ||
        value.text.size() > document::kMaxText) {
      report.Add(
          value, fmt::format("{}.{}", path, name.text),
          fmt::format("expected text of at most {} bytes, found {}; write \"\" for an empty value",
                      document::kMaxText, value.Describe()));
      continue;
    }
    env[name.text] = value.text;
  }
  return env;
}

enum class PathUse { kInput, kOutput };

std::vector<std::string> DecodePaths(const document::Node& node, const std::string& path,
                                     PathUse use, document::Report& report) {
  std::vector<std::string> paths;
  size_t index = 0;
  for (const document::Node& item : document::ReadList(node, path, kMaxPaths, report)) {
    const std::string here = fmt::format("{}[{}]", path, index++);
    const auto text = document::ReadLine(item, here, kMaxPath, report);
    if (!text) continue;
    std::string why;
    const std::string normal = NormalizePath(*text, why);
    if (normal.empty()) {
      report.Add(item, here, why);
    } else if (use == PathUse::kInput && normal.starts_with('/')) {
      report.Add(item, here, fmt::format("`{}` must be relative to the repository", *text));
    } else if (use == PathUse::kOutput && normal == "/") {
      report.Add(item, here, "`/` cannot be an output; name the directory that the command fills");
    } else if (use == PathUse::kOutput && normal.find_first_of("*?[{") != std::string::npos) {
      report.Add(item, here, fmt::format("`{}` is a pattern; name each output in full", *text));
    } else {
      paths.push_back(normal);
    }
  }
  return paths;
}

// Absolute, and with a slash at the end so that a prefix is a parent.
std::string Absolute(const std::string& path, const std::string& repository) {
  if (path == ".") return repository + "/";
  return (path.starts_with('/') ? path : repository + "/" + path) + "/";
}

struct Output {
  std::string absolute;
  std::string written;
  std::string block;
  const document::Node* at;
};

void Collect(const std::vector<Block>& blocks, const document::Node* list,
             const std::string& repository, std::vector<Output>& outputs) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    const document::Node* at = list != nullptr && i < list->items.size() ? &list->items[i] : list;
    for (const auto* paths : {&blocks[i].output_dirs, &blocks[i].output_files}) {
      for (const std::string& path : *paths) {
        outputs.push_back({Absolute(path, repository), path, blocks[i].name, at});
      }
    }
  }
}

}  // namespace

bool IsBlockName(std::string_view name) {
  if (name.empty() || name.size() > kMaxName || !IsAlnum(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

std::string NormalizePath(std::string_view path, std::string& why) {
  if (path.starts_with('~')) {
    why = fmt::format("`{}` begins with `~`; write the absolute path", path);
    return "";
  }
  std::string out = path.starts_with('/') ? "/" : "";
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    start = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      why = fmt::format("`{}` leads out with `..`; write the path that it means", path);
      return "";
    }
    if (!out.empty() && out.back() != '/') out += '/';
    out += part;
  }
  return out.empty() ? "." : out;
}

std::vector<Block> DecodeBlocks(const document::Node& node, const std::string& path,
                                document::Report& report) {
  std::vector<Block> blocks;
  std::set<std::string> names;
  size_t index = 0;
  for (const document::Node& item : document::ReadList(node, path, kMaxBlocks, report)) {
    document::Fields fields(item, fmt::format("{}[{}]", path, index++), report);
    Block block;
    if (const document::Node* name = fields.Require("name", "give the block a name")) {
      block.name =
          document::ReadLine(*name, fields.Path("name"), document::kMaxText, report).value_or("");
      if (!block.name.empty() && !IsBlockName(block.name)) {
        report.Add(
            *name, fields.Path("name"),
            fmt::format("{} is not a block's name: up to 64 letters, digits, `_`, `.` and `-`, "
                        "beginning with a letter or digit",
                        name->Describe()));
      } else if (!block.name.empty() && !names.insert(block.name).second) {
        report.Add(*name, fields.Path("name"),
                   fmt::format("another block is called `{}`; names are unique", block.name));
      }
    }
    if (const document::Node* command =
            fields.Require("command", "write the shell command to run")) {
      block.command = document::ReadText(*command, fields.Path("command"), report).value_or("");
    }
    if (const document::Node* env = fields.Get("env"))
      block.env = DecodeEnv(*env, fields.Path("env"), report);
    if (const document::Node* inputs = fields.Get("inputs")) {
      document::Fields in(*inputs, fields.Path("inputs"), report);
      if (const document::Node* files = in.Get("files")) {
        block.input_files = DecodePaths(*files, in.Path("files"), PathUse::kInput, report);
      }
      in.Finish();
    }
    if (const document::Node* outputs = fields.Get("outputs")) {
      document::Fields out(*outputs, fields.Path("outputs"), report);
      if (const document::Node* dirs = out.Get("dirs")) {
        block.output_dirs = DecodePaths(*dirs, out.Path("dirs"), PathUse::kOutput, report);
      }
      if (const document::Node* files = out.Get("files")) {
        block.output_files = DecodePaths(*files, out.Path("files"), PathUse::kOutput, report);
      }
      out.Finish();
    }
    fields.Finish();
    blocks.push_back(
        std::move(block));  // also a faulty one: CheckOutputs pairs blocks with their nodes
  }
  return blocks;
}

void CheckOutputs(const Policy& policy, const document::Node* dependencies,
                  const document::Node* services, document::Report& report) {
  const std::string repository = policy.repository ? policy.repository->path : Repository().path;
  std::vector<Output> outputs;
  Collect(policy.dependencies, dependencies, repository, outputs);
  Collect(policy.services, services, repository, outputs);
  const std::string root = repository + "/";
  for (const Output& output : outputs) {
    if (root.starts_with(output.absolute)) {
      report.Add(*output.at, "outputs",
                 fmt::format("`{}` is or contains the repository; name a directory in it",
                             output.written));
    }
  }
  // Sorted, a parent stands right before everything below it.
  std::sort(outputs.begin(), outputs.end(), [](const Output& a, const Output& b) {
    return std::tie(a.absolute, a.at->line, a.at->column) <
           std::tie(b.absolute, b.at->line, b.at->column);
  });
  const Output* parent = nullptr;
  for (const Output& output : outputs) {
    if (parent == nullptr || !output.absolute.starts_with(parent->absolute)) {
      parent = &output;
      continue;
    }
    report.Add(*output.at, "outputs",
               fmt::format("`{}` of `{}` overlaps `{}` of `{}`; an output belongs to one block",
                           output.written, output.block, parent->written, parent->block));
  }
}

}  // namespace cleanroom::policy
